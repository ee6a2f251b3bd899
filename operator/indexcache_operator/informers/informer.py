"""Keeps one collection's store current: a list, then a watch from there on, again and again.

A watch that a network has forgotten looks like a quiet one. So the API server is asked to end each after
WATCH_SECONDS, and one that is silent for longer than SILENT_SECONDS, without even a bookmark, counts as dead.
From then until the next list or watch has begun, the store isn't current, and nobody believes it.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

import aiohttp

from indexcache_operator import metrics
from indexcache_operator.informers.slim import SLIM, whole
from indexcache_operator.informers.store import Store
from indexcache_operator.kube import Kube, KubeError
from indexcache_operator.names import ROLLOUT_LABEL, object_path
from indexcache_operator.objects import Object

logger = logging.getLogger(__name__)

WATCH_SECONDS = 40
SILENT_SECONDS = 50.0
RETRY_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
"""Waits after the first, the second, ... failure in a row."""
GONE = 410
"""HTTP status for a version that the API server no longer has: list anew."""


class WatchError(Exception):
    """A watch that can't go on: the API server says so, or tells what is no event."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


EXPECTED = (KubeError, WatchError, aiohttp.ClientError, TimeoutError, OSError)
"""What the world does to a list or a watch."""


def nobody(_: str, __: Object) -> None:
    """Take no notice of a change."""


@dataclass(kw_only=True)
class Informer:
    """Watches one collection in one namespace, or in all where that is None. `run` it once."""

    kube: Kube
    api: str
    plural: str
    namespace: str | None
    selector: Mapping[str, str | None] = field(default_factory=dict)
    current: bool = False
    """Whether the store is as the API server told last, no longer than SILENT_SECONDS ago."""
    on_change: Callable[[str, Object], None] = nobody
    """Told the plural and the object, as it is now or last was, when the watch told something new of it."""

    def __post_init__(self) -> None:
        self._slim = SLIM.get(self.plural, whole)
        self.store = Store(self.selector, slim=self._slim, indexed=ROLLOUT_LABEL)
        self._path = object_path(self.api, self.plural, self.namespace)

    async def run(self) -> None:
        """Keep the store current until cancelled."""
        try:
            await self._follow()
        finally:
            self._now(False)

    async def _follow(self) -> None:
        failures, version = 0, 0
        while True:
            try:
                version = version or await self._list()
                self._now(True)
                version, failures = await self._watch(version), 0
            except Exception as error:  # noqa: BLE001 (whatever it is, the store is listed anew, and not believed until then)
                self._now(False)
                self._tell(error)
                wait = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                version, failures = 0, failures + 1
                await asyncio.sleep(wait * random.uniform(0.5, 1.5))

    async def _list(self) -> int:
        objects, version = await self.kube.listed(self._path, self.selector, kept=self._slim)
        if not version:
            raise WatchError("found a list without a resourceVersion; expected one to watch from")
        for item in self.store.replace(objects, version):
            self.on_change(self.plural, item)
        return version

    async def _watch(self, version: int) -> int:
        """Take up events from a version on, until the API server ends the watch. Return the version then.

        Raises WatchError, KubeError, and what a connection raises.
        """
        watch = self.kube.watch(
            self._path, self.selector, version=version, seconds=WATCH_SECONDS, silent_seconds=SILENT_SECONDS
        )
        async with aclosing(watch) as events:
            async for event in events:
                version = max(version, self._take_up(event))
        return version

    def _take_up(self, event: Object) -> int:
        """Take up one event. Return its version."""
        kind, item = event.get("type"), event.get("object")
        if kind == "ERROR" and isinstance(item, dict):
            raise WatchError(str(item.get("message") or item.get("reason")), int(item.get("code") or 0))
        try:
            assert isinstance(item, dict)
            version = int(item["metadata"]["resourceVersion"])
            if kind == "BOOKMARK":
                self.store.told_up_to(version)
            elif kind in ("ADDED", "MODIFIED", "DELETED"):
                if self.store.told(item, gone=kind == "DELETED"):
                    self.on_change(self.plural, item)
            else:
                raise WatchError(f"found an event of type {kind!r}; expected ADDED, MODIFIED or DELETED")
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            raise WatchError(f"found an event that is none: {error!r}") from None
        return version

    def _tell(self, error: Exception) -> None:
        """Report a fault in the log, with its traceback if nobody expects it."""
        gone = getattr(error, "status", None) == GONE
        trace = None if isinstance(error, EXPECTED) else error
        level = logging.INFO if gone else logging.WARNING
        logger.log(level, "%s: listed anew: %s", self._path, error, exc_info=trace)

    def _now(self, current: bool) -> None:
        self.current = current
        metrics.INFORMERS.labels(self.plural, self.namespace or "").set(float(current))

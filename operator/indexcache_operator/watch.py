"""Kopf's part: it watches rollouts, and every event wakes the loop of the rollout that it speaks of. Nothing
is decided here.

Kopf's low-level `on.event` is used, not its change handlers (edge-triggered: what happened while nobody
looked is lost) nor its daemons (none is started for a resource that is already being deleted, whose finalizer
Kopf then takes off with nothing cleaned up). So Kopf writes nothing to the rollouts, neither annotations nor
a finalizer.
"""

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context
from typing import Any

import kopf

from indexcache_operator import emergency
from indexcache_operator.api.base import GROUP, PLURAL, VERSION
from indexcache_operator.loop import RolloutLoop
from indexcache_operator.names import HTTP_ROUTES, ROLLOUT_LABEL, rollouts_path
from indexcache_operator.objects import Object
from indexcache_operator.observe.claims import Claims
from indexcache_operator.observe.rollout import at_rest

logger = logging.getLogger(__name__)

MakeLoop = Callable[[str, str, str], RolloutLoop]
"""Of (namespace, name, uid)."""


class Loops:
    """The loops of all rollouts that there are, by uid: one of a rollout deleted and made again under its old
    name is another.
    """

    def __init__(
        self, make: MakeLoop, claims: Claims | None = None, heard: Callable[[str, Object], None] | None = None
    ) -> None:
        """Hold no loop yet. `heard` is told the path and the object of each event before a loop looks."""
        self._make = make
        self._heard = heard
        self._claims = claims or Claims()
        self._loops: dict[str, RolloutLoop] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._by_name: dict[tuple[str, str], str] = {}
        """Their uids, by namespace and name."""

    def event(self, namespace: str, name: str, uid: str, version: str, raw: Object | None = None) -> None:
        """Tell a rollout's loop that something happened to it, or start it. `raw` is the rollout as the event
        shows it.
        """
        if raw is not None:
            self._claims.note(raw)
            if self._heard is not None:
                self._heard(rollouts_path(namespace, name), raw)
        if uid in self._loops:
            self._loops[uid].changed(version, raw)
            return
        loop = self._loops[uid] = self._make(namespace, name, uid)
        self._by_name[namespace, name] = uid
        if raw is not None and at_rest(raw) and emergency.cause(raw) is None:
            loop.calm()
        # In a context of their own: Kopf's holds the whole event, for as long as any task or callback does.
        own = Context()
        task = self._tasks[uid] = asyncio.create_task(
            loop.run(), name=f"rollout {namespace}/{name}", context=own
        )
        task.add_done_callback(lambda done: self._ended(uid, namespace, name, done), context=own)

    def told(self, plural: str, item: Object) -> None:
        """Have the rollouts looked at that a change of an object concerns, as a watch told it: a rollout
        itself, the route of some, or what one owns.
        """
        metadata = item["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        if plural == PLURAL:
            if metadata["uid"] in self._loops:
                self._loops[metadata["uid"]].changed(metadata["resourceVersion"], item)
        elif plural == HTTP_ROUTES[1]:
            for uid in self._claims.of_route(namespace, name):
                self._stir(uid)
        else:
            owner = (metadata.get("labels") or {}).get(ROLLOUT_LABEL, "")
            self._stir(self._by_name.get((namespace, owner), ""))

    def _stir(self, uid: str) -> None:
        if uid in self._loops:
            self._loops[uid].stir()

    def wake(self, uid: str) -> None:
        """Look at once at a rollout, if it is known."""
        if uid in self._loops:
            self._loops[uid].wake()

    def wake_all(self) -> None:
        """Look at every rollout, those first in which something is in motion: this operator leads from now
        on, or no longer.
        """
        for loop in self._loops.values():
            loop.stir()

    async def stop(self) -> None:
        """End all loops where they are: engines go on as told, as long as their permits last."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, uid: str, namespace: str, name: str, task: "asyncio.Task[None]") -> None:
        self._loops.pop(uid, None)
        self._tasks.pop(uid, None)
        self._claims.forget(uid)
        if self._by_name.get((namespace, name)) == uid:
            del self._by_name[namespace, name]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.critical(
                "%s/%s: its loop has ended: %r; the next event starts another",
                namespace,
                name,
                error,
                exc_info=error,
            )


def register(registry: kopf.OperatorRegistry, loops: Loops) -> None:
    """Register Kopf's handlers: one."""

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)  # type: ignore[untyped-decorator]
    async def event(
        *, namespace: str | None, name: str | None, uid: str | None, meta: Any, body: Any, **_: Any
    ) -> None:
        if namespace and name and uid:
            loops.event(namespace, name, uid, meta.get("resourceVersion", ""), dict(body))

    @kopf.on.login(registry=registry)  # type: ignore[untyped-decorator]
    def login(**kwargs: Any) -> Any:
        # Kopf's default would import the synchronous Kubernetes client, tens of megabytes for one token.
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.startup(registry=registry)  # type: ignore[untyped-decorator]
    def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.scanning.disabled = (
            True  # no watch of CRDs and namespaces: main.py has waited for the one that matters
        )
        # A watch that a load balancer has forgotten looks like a quiet one: end it, and begin another.
        settings.watching.server_timeout = 300
        settings.watching.connect_timeout = 10
        settings.watching.inactivity_timeout = 70.0
        settings.networking.request_timeout = 30
        settings.networking.error_backoffs = [0.1, 0.5, 1, 2, 2, 2]
        settings.watching.chunk_size = 50  # whole rollouts in memory at once, at the start
        settings.queueing.exit_timeout = 1.0
        settings.queueing.idle_timeout = 0.1  # until then Kopf holds the last event of each rollout

"""Lets the operator's real informers list and watch the simulated API server, and their watches break.

An event is told no sooner than the world's next moment, so every read of a watch is late by up to one.
"""

import asyncio
import copy
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from indexcache_operator import names
from indexcache_operator.informers.all import informed
from indexcache_operator.informers.informer import SILENT_SECONDS
from indexcache_operator.informers.reads import InformedReads
from indexcache_operator.kube import KubeError
from indexcache_operator.objects import Object

from tests.unit.operator.faults.faulty import FaultyApi
from tests.unit.operator.faults.simulated import NAMESPACE
from tests.unit.operator.plan.world import World

BREAKS = ("watch cut off", "watch ends", "watch 410", "watch silent", "watch late", "lists fail")
"""What befalls a watch. `silent`: it tells nothing more, and the operator finds out after SILENT_SECONDS.
`late`: nothing for LATE, then all at once. `lists fail`: it is cut off, and so are the next lists.
"""
SILENT, LATE, FAILING = int(SILENT_SECONDS / 0.5), 6, 4
"""In moments of the world, of half a second."""

Breaking = Callable[[str, int], str | None]
"""Given a collection and the world's moment, says what befalls its watch."""


class WatchedApi(FaultyApi):
    """Lists and watches, by collection."""

    def __init__(self, world: World, breaking: Breaking, *, hanging_looks: int = 0) -> None:
        super().__init__(world, hanging_looks=hanging_looks)
        self.breaking, self.at = breaking, 0
        self.on_write: Callable[[str, Object], None] = lambda path, item: None
        self._told: dict[str, dict[str, Object]] = {}
        self._failing: Counter[str] = Counter()
        self._next = asyncio.Event()

    def passes(self) -> None:
        """Let time pass, and watches go on."""
        super().passes()
        self.at += 1
        self._next.set()
        self._next = asyncio.Event()

    async def _call(self, verb: str, real: Any, path: str, *args: Any, **kwargs: Any) -> Any:
        answer = await super()._call(verb, real, path, *args, **kwargs)
        if verb in ("replace", "patch") or (verb == "apply" and "dry_run" not in kwargs):
            self.on_write(path, answer)
        return answer

    async def listed(self, path: str, *_: Any, kept: Callable[[Object], Object]) -> tuple[list[Object], int]:
        await self._next.wait()
        if self._failing[path]:
            self._failing[path] -= 1
            raise KubeError(500, "Injected", "refused by this test")
        self._told[path] = self._collection(path)
        return [kept(item) for item in self._told[path].values()], self._version(path)

    async def watch(self, path: str, *_: Any, **__: Any) -> AsyncGenerator[Object, None]:
        while True:
            await self._next.wait()
            match fault := self.breaking(path, self.at):
                case "watch cut off" | "lists fail":
                    self.faults[fault] += 1
                    self._failing[path] = FAILING if fault == "lists fail" else 0
                    raise aiohttp.ClientPayloadError("cut off by this test")
                case "watch ends":
                    self.faults[fault] += 1
                    return
                case "watch 410":
                    self.faults[fault] += 1
                    yield {"type": "ERROR", "object": {"code": 410, "message": "too old"}}
                case "watch silent" | "watch late":
                    self.faults[fault] += 1
                    for _moment in range(SILENT if fault == "watch silent" else LATE):
                        await self._next.wait()
                    if fault == "watch silent":
                        raise TimeoutError
            for event in self._events(path):
                yield event

    def _events(self, path: str) -> list[Object]:
        before, now = self._told[path], self._collection(path)
        self._told[path] = now
        gone = [
            {**item, "metadata": {**item["metadata"], "resourceVersion": str(self._version(path))}}
            for name, item in before.items()
            if name not in now
        ]
        changed = [item for name, item in now.items() if item != before.get(name)]
        told = [("MODIFIED", item) for item in changed] + [("DELETED", item) for item in gone]
        events = [{"type": kind, "object": copy.deepcopy(item)} for kind, item in told]
        return sorted(events, key=lambda event: int(event["object"]["metadata"]["resourceVersion"]))

    def _collection(self, path: str) -> dict[str, Object]:
        """Return the objects of a collection, by name."""
        plural = names.place(path).plural
        if plural == "pods":
            return {name: self._pod(name) for name in self.world.pods}
        if plural == names.ROLLOUTS[1]:
            return {} if self.world.gone else {"it": self._rollout()}
        if plural == names.HTTP_ROUTES[1]:
            return {"it": self._route()}
        found = [copy.deepcopy(self.objects[at]) for at in self.objects if names.place(at).plural == plural]
        return {item["metadata"]["name"]: item for item in found}

    def _version(self, path: str) -> int:
        is_route = names.place(path).plural == names.HTTP_ROUTES[1]
        return self.world.route_generation if is_route else self.version


@asynccontextmanager
async def watching(api: WatchedApi) -> AsyncIterator[InformedReads]:
    """Run informers over the simulated API server."""
    kube: Any = api
    async with informed(kube, [NAMESPACE]) as reads:
        yield reads

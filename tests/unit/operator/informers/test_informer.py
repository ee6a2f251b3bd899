"""Tests an informer through everything that a list and a watch can do to it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import aiohttp
import pytest
from indexcache_operator.informers import informer as module
from indexcache_operator.informers.informer import Informer
from indexcache_operator.kube import Kube, KubeError
from indexcache_operator.objects import Object

from tests.unit.operator.informers.test_store import pod

Told = Object | Exception


class Server:
    """An API server whose lists and watches are given: events, then an error or an end."""

    def __init__(self, lists: list[tuple[list[Object], int] | Exception], watches: list[list[Told]]) -> None:
        self.lists, self.watches = lists, watches
        self.from_versions: list[int] = []
        self.listed_times = 0

    async def listed(
        self, path: str, selector: Mapping[str, str | None], **_: Any
    ) -> tuple[list[Object], int]:
        self.listed_times += 1
        found = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(found, Exception):
            raise found
        return found

    async def watch(
        self, path: str, selector: Any, *, version: int, **_: Any
    ) -> AsyncGenerator[Object, None]:
        self.from_versions.append(version)
        if not self.watches:
            await asyncio.Event().wait()  # a quiet one
        for told in self.watches.pop(0):
            if isinstance(told, Exception):
                raise told
            yield told


def event(kind: str, item: Object) -> Object:
    return {"type": kind, "object": item}


@asynccontextmanager
async def watching(server: Server) -> AsyncIterator[Informer]:
    """Run an informer until all that is given was told."""
    informer = Informer(kube=cast(Kube, server), api="api/v1", plural="pods", namespace=None)
    task = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(20):
            while server.watches or not informer.current:  # noqa: ASYNC110 (there is nothing to be told by)
                await asyncio.sleep(0)
        yield informer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not informer.current


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", (0.0,))


def versions(informer: Informer) -> dict[str, int]:
    return {
        item["metadata"]["name"]: int(item["metadata"]["resourceVersion"])
        for item in informer.store.select(None, {})
    }


async def test_goes_on_where_a_watch_ended() -> None:
    server = Server(
        [([pod(1)], 3)],
        [[event("ADDED", pod(5, "b")), event("MODIFIED", pod(6))], [event("DELETED", pod(7, "b"))]],
    )
    async with watching(server) as informer:
        assert versions(informer) == {"a": 6}
        assert server.from_versions == [3, 6, 7]
        assert server.listed_times == 1


async def test_a_bookmark_is_where_the_next_watch_begins() -> None:
    server = Server([([pod(1)], 3)], [[event("BOOKMARK", {"metadata": {"resourceVersion": "40"}})]])
    async with watching(server):
        assert server.from_versions == [3, 40]


@pytest.mark.parametrize(
    "fault",
    [
        KubeError(410, "Expired", "too old"),
        event("ERROR", {"code": 410, "reason": "Expired", "message": "too old resource version"}),
        KubeError(500, "InternalError", "etcd"),
        KubeError(429, "TooManyRequests", "later"),
        KubeError(403, "Forbidden", "no"),
        TimeoutError(),
        aiohttp.ClientPayloadError("cut"),
        ConnectionResetError(),
        ValueError("Chunk too big"),  # an event beyond what the client reads
        RuntimeError("nobody thought of it"),
        event("ADDED", {"metadata": {"name": "n"}}),
        {"type": "ADDED"},
        {"object": None},
        event("WHATEVER", pod(9)),
    ],
    ids=repr,
)
async def test_after_a_fault_it_lists_anew(fault: Told) -> None:
    server = Server([([pod(1)], 3), ([pod(4, "b")], 8)], [[event("MODIFIED", pod(5)), fault]])
    async with watching(server) as informer:
        assert versions(informer) == {"b": 4}
        assert server.from_versions == [3, 8]


async def test_a_list_that_fails_is_tried_again_and_until_then_nothing_is_current() -> None:
    server = Server([KubeError(403, "Forbidden", "no"), OSError("refused"), ([pod(1)], 0), ([pod(2)], 2)], [])
    async with watching(server) as informer:
        assert server.listed_times == 4
        assert versions(informer) == {"a": 2}


async def test_while_a_watch_has_broken_the_store_is_not_current() -> None:
    server = Server([([pod(1)], 3), KubeError(500, "InternalError", "etcd")], [[TimeoutError()]])
    informer = Informer(kube=cast(Kube, server), api="api/v1", plural="pods", namespace=None)
    task = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(20):
            while server.listed_times < 3:  # noqa: ASYNC110 (there is nothing to be told by)
                await asyncio.sleep(0)
        assert not informer.current
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

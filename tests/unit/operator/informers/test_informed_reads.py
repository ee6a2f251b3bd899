"""Tests which reads an informer answers, and which the API server."""

from typing import Any, cast

import pytest
from indexcache_operator.informers.informer import Informer
from indexcache_operator.informers.reads import InformedReads
from indexcache_operator.kube import Kube, NotFound
from indexcache_operator.objects import Object

from tests.unit.operator.informers.test_store import pod

PODS = "/api/v1/namespaces/ns/pods"


class Asked:
    """An API server that notes what it is asked."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def get(self, path: str) -> Object:
        self.paths.append(path)
        return pod(99)

    async def select(self, path: str, selector: Any = None) -> list[Object]:
        self.paths.append(path)
        return [pod(99)]


def reads(*, current: bool = True, namespace: str | None = None) -> tuple[InformedReads, Asked, Informer]:
    server = Asked()
    informer = Informer(
        kube=cast(Kube, server), api="api/v1", plural="pods", namespace=namespace, current=current
    )
    informer.store.replace([pod(1), pod(2, "b")], 2)
    return InformedReads(cast(Kube, server), [informer]), server, informer


@pytest.mark.parametrize("namespace", [None, "ns"])
async def test_what_is_known_is_not_asked_for(namespace: str | None) -> None:
    known, server, _ = reads(namespace=namespace)
    assert (await known.get(f"{PODS}/a"))["metadata"]["resourceVersion"] == "1"
    assert [item["metadata"]["name"] for item in await known.select(PODS, {"engine": "true"})] == ["a", "b"]
    with pytest.raises(NotFound, match="pods/c"):
        await known.get(f"{PODS}/c")
    assert server.paths == []


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/ns/secrets/a",
        "/apis/apps/v1/namespaces/ns/pods/a",
        f"{PODS}/a/status",
        "/api/v1/namespaces/other/pods/a",
    ],
)
async def test_what_no_informer_has_is_asked_for(path: str) -> None:
    known, server, _ = reads(namespace="ns")
    await known.get(path)
    assert server.paths == [path]


async def test_what_is_not_current_is_asked_for() -> None:
    known, server, informer = reads(current=False)
    assert (await known.get(f"{PODS}/a"))["metadata"]["resourceVersion"] == "99"
    await known.select(PODS)
    assert server.paths == [f"{PODS}/a", PODS]
    informer.current = True
    await known.get(f"{PODS}/a")
    assert len(server.paths) == 2


async def test_an_object_that_comes_another_way_is_taken_up_current_or_not() -> None:
    known, _, informer = reads(current=False)
    known.heard(f"{PODS}/a", pod(7))
    known.heard(f"{PODS}/a/status", pod(8))
    known.heard("/api/v1/namespaces/ns/secrets/a", pod(9))
    informer.current = True
    assert (await known.get(f"{PODS}/a"))["metadata"]["resourceVersion"] == "8"

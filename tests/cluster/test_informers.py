"""Informers on a real API server, and what a look costs it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from indexcache_operator import metrics, names
from indexcache_operator.act import workload
from indexcache_operator.informers.all import WATCHED, informed
from indexcache_operator.informers.reads import InformedReads
from indexcache_operator.kube import Kube, NotFound
from indexcache_operator.observe.hugging_face import HuggingFace
from indexcache_operator.observe.look import Observer, Sight
from indexcache_operator.workload.render import Owner, Runtime

from tests.credentials import CREDENTIALS

ROLLOUT: dict[str, Any] = {
    "apiVersion": "indexcache.dev/v1alpha1",
    "kind": "IndexCacheRollout",
    "metadata": {"name": "r"},
    "spec": {
        "engine": {"image": "i", "model": "m"},
        "indexCache": {"pattern": "FS"},
        "traffic": {"httpRoute": {"name": "users", "rule": "all"}},
    },
}
OURS, OTHERS = {names.ROLLOUT_LABEL: "r"}, {"app": "other"}


def service(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"ports": [{"port": 80}]}}


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 (the API is what is asked)
            await asyncio.sleep(0.02)


async def all_current(namespace: str) -> None:
    """Wait for all informers of a namespace."""

    async def current() -> bool:
        values = {
            sample.labels["kind"]: sample.value
            for metric in metrics.INFORMERS.collect()
            for sample in metric.samples
            if sample.labels["namespace"] == namespace
        }
        return values == {plural: 1.0 for (_, plural), _ in WATCHED}

    await eventually(current)


@pytest.fixture
async def reads(kube: Kube, namespace: str) -> AsyncIterator[InformedReads]:
    """Yield reads from informers of the test's own namespace, all of them current."""
    async with informed(kube, [namespace]) as found:
        await all_current(namespace)
        yield found


async def test_what_this_process_wrote_is_read_at_once_and_what_others_wrote_soon(
    kube: Kube, namespace: str, reads: InformedReads
) -> None:
    path = names.object_path("api/v1", "services", namespace)
    made = await kube.create(path, service("ours", OURS))
    assert (await reads.get(f"{path}/ours"))["metadata"]["uid"] == made["metadata"]["uid"]
    changed = await kube.patch(f"{path}/ours", {"metadata": {"labels": {"seen": "yes"}}})
    found = await reads.get(f"{path}/ours")
    assert found["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]
    assert [item["metadata"]["name"] for item in await reads.select(path, {"seen": "yes"})] == ["ours"]
    kube.on_write = lambda *_: None  # from here on it is as if somebody else wrote
    await kube.patch(f"{path}/ours", {"metadata": {"labels": {"seen": "no"}}})
    await kube.create(path, service("theirs", OTHERS))
    await kube.create(path, service("second", OURS))

    async def told() -> bool:
        return [s["metadata"]["name"] for s in await reads.select(path, OURS)] == ["ours", "second"]

    await eventually(told)
    assert (await reads.get(f"{path}/ours"))["metadata"]["labels"]["seen"] == "no"
    with pytest.raises(NotFound):
        await reads.get(f"{path}/theirs")
    await kube.delete(f"{path}/second")
    await kube.patch(f"{path}/ours", {"metadata": {"labels": {names.ROLLOUT_LABEL: None}}})

    async def gone() -> bool:
        return await reads.select(path, {}) == []

    await eventually(gone)


async def test_an_object_from_a_list_can_be_written_back(kube: Kube, namespace: str) -> None:
    await kube.create(names.rollouts_path(namespace), ROLLOUT)
    async with informed(kube, [namespace]) as reads:
        await all_current(namespace)
        raw = await reads.get(names.rollouts_path(namespace, "r"))
        assert "managedFields" not in raw["metadata"]
        stored = await kube.replace(
            names.rollouts_path(namespace, "r", "status"), {**raw, "status": {"phase": "Promoted"}}
        )
        assert stored["metadata"]["managedFields"]
        assert (await reads.get(names.rollouts_path(namespace, "r")))["status"]["phase"] == "Promoted"


@pytest.mark.parametrize(("phase", "requests"), [("Promoted", 0), ("FellBack", 0), ("Canary", 1)])
async def test_what_a_look_costs_the_api_server(
    kube: Kube, namespace: str, reads: InformedReads, phase: str, requests: int
) -> None:
    made = await kube.create(names.rollouts_path(namespace), ROLLOUT)
    status = {"phase": phase, "observedGeneration": made["metadata"]["generation"]}
    await kube.replace(names.rollouts_path(namespace, "r", "status"), {**made, "status": status})
    async with aiohttp.ClientSession() as session:
        observer = Observer(
            kube=kube,
            session=session,
            runtime=Runtime(image="x:1"),
            credentials=CREDENTIALS,
            hugging_face=HuggingFace(session, None),
            informed=reads,
        )
        sight = Sight()
        found = await observer.look(namespace, "r", sight)
        assert found is not None
        assert found.workload is not None
        owner = Owner(name="r", namespace=namespace, uid=found.rollout.uid)
        await workload.ensure(kube, found.workload, owner)
        found = await observer.look(namespace, "r", sight)
        assert found is not None
        assert found.observation.workload_current
        before = asked()
        await observer.look(namespace, "r", sight)
        assert asked() - before == requests


def asked() -> float:
    """Return the requests to the API server so far, but for those that begin a watch."""
    return sum(
        sample.value
        for metric in metrics.API_REQUESTS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels["verb"] != "watch"
    )

"""The loop on a real API server and against a control port over HTTP: order, retries, fences, and an end."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from indexcache_operator import names
from indexcache_operator.api.status import Phase, Status
from indexcache_operator.kube import NotFound
from indexcache_operator.loop import RolloutLoop
from indexcache_operator.model import (
    Action,
    DeleteWorkload,
    EnsureWorkload,
    Event,
    Observation,
    PersistStatus,
    RemoveFinalizer,
)
from indexcache_operator.watch import Loops

from tests.cluster.scene import Scene, running


async def test_holds_applies_persists_and_then_rests(scene: Scene) -> None:
    def decide(o: Observation) -> tuple[Status, list[Action]]:
        status = replace(o.status, phase=Phase.CHECKING)
        return status, [] if o.workload_current else [
            PersistStatus(),
            EnsureWorkload(),
            Event(type="Normal", reason="Began", message="m"),
        ]

    loop = scene.loop(decide)
    async with running(loop):

        async def applied() -> bool:
            loop.wake()
            return bool(scene.seen) and scene.seen[-1].workload_current

        await scene.eventually(applied)
        raw = await scene.kube.get(scene.path())
        assert raw["metadata"]["finalizers"] == [names.FINALIZER]
        assert raw["status"]["phase"] == "Checking"
        looks = len(scene.seen)
        loop.wake()

        async def looked() -> bool:
            return len(scene.seen) > looks

        await scene.eventually(looked)
        assert (await scene.kube.get(scene.path()))["metadata"]["resourceVersion"] == raw["metadata"][
            "resourceVersion"
        ]
    events = await scene.kube.select(names.object_path("api/v1", "events", scene.namespace))
    assert [e["reason"] for e in events] == ["Began"]


async def test_an_intent_written_in_between_is_never_erased(scene: Scene) -> None:
    """Between the look and the write the webhook stores an intent: the write is refused, and the next look
    sees it.
    """
    intent = {"cause": "AlertFiring", "since": "2026-01-01T00:00:00.000Z", "revision": "rev1"}

    async def webhook() -> None:
        raw = await scene.kube.get(scene.path())
        await scene.kube.replace(
            scene.path("status"), {**raw, "status": {**raw.get("status", {}), "fallback": intent}}
        )

    first = True

    def decide(o: Observation) -> tuple[Status, list[Action]]:
        if o.status.fallback is not None:
            return replace(o.status, phase=Phase.FALLING_BACK), [PersistStatus()]
        return replace(o.status, epoch=o.status.epoch + 1), [PersistStatus()]

    loop = scene.loop(decide)
    looked = loop.observer.look

    async def look(*args: Any, **kwargs: Any) -> Any:
        nonlocal first
        found = await looked(*args, **kwargs)
        if found is not None and found.rollout.held and first:
            first = False
            await webhook()
        return found

    object.__setattr__(loop.observer, "look", look)
    async with running(loop):

        async def fell() -> bool:
            return (await scene.status()).get("phase") == "FallingBack"

        await scene.eventually(fell)
    assert (await scene.status())["fallback"]["cause"] == "AlertFiring"
    assert (await scene.status()).get("epoch", 0) == 0


async def test_a_deleted_rollout_goes_when_the_plan_says_so(scene: Scene) -> None:
    may_go = asyncio.Event()

    def decide(o: Observation) -> tuple[Status, list[Action]]:
        if not o.deleting:
            return o.status, [] if o.workload_current else [EnsureWorkload()]
        return o.status, [DeleteWorkload(), RemoveFinalizer()] if may_go.is_set() else []

    loop = scene.loop(decide, wait=0.02)
    async with running(loop) as task:

        async def applied() -> bool:
            return bool(scene.seen) and scene.seen[-1].workload_current

        await scene.eventually(applied)
        await scene.kube.delete(scene.path())

        async def deleting() -> bool:
            return scene.seen[-1].deleting

        await scene.eventually(deleting)
        assert names.FINALIZER in (await scene.kube.get(scene.path()))["metadata"]["finalizers"]
        may_go.set()
        await asyncio.wait_for(task, 60)
    for path in (scene.path(), names.object_path("apis/apps/v1", "deployments", scene.namespace, "r")):
        with pytest.raises(NotFound):
            await scene.kube.get(path)


async def test_loops_begin_with_an_event_wake_by_it_and_end_with_their_rollout(scene: Scene) -> None:
    made: list[RolloutLoop] = []

    def make(namespace: str, name: str, uid: str) -> RolloutLoop:
        made.append(
            replace(scene.loop(lambda o: (o.status, [RemoveFinalizer()] if o.deleting else [])), uid=uid)
        )
        return made[-1]

    loops = Loops(make)
    loops.event(scene.namespace, "r", scene.uid, "1")

    async def looked() -> bool:
        return len(scene.seen) >= 1

    await scene.eventually(looked)
    await scene.kube.delete(scene.path())
    loops.event(scene.namespace, "r", scene.uid, "2")

    async def gone() -> bool:
        loops.wake(scene.uid)
        return scene.uid not in loops._loops

    await scene.eventually(gone)
    assert len(made) == 1
    await loops.stop()

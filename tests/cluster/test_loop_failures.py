"""Tests what one failure keeps from being done, and what a rollout says whose turns fail."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_operator import names
from indexcache_operator.act import route, workload
from indexcache_operator.api.status import Phase, Status
from indexcache_operator.kube import KubeError
from indexcache_operator.model import (
    Action,
    DeleteWorkload,
    Observation,
    PatchRoute,
    PersistStatus,
    RemoveFinalizer,
    SetLabels,
)

from tests.cluster.scene import Scene, running


async def test_what_follows_a_failure_is_done_all_the_same(scene: Scene) -> None:
    """Labels of a pod that is gone can't be set: the status after it is written, the error is told, and the
    loop goes on.
    """

    def decide(o: Observation) -> tuple[Status, list[Action]]:
        if len(scene.seen) < 3:
            return replace(o.status, epoch=5), [
                SetLabels(pod="gone", baseline=True, canary=False),
                PersistStatus(),
            ]
        return replace(o.status, phase=Phase.CHECKING), [PersistStatus()]

    async with running(scene.loop(decide)):

        async def went_on() -> bool:
            return (await scene.status()).get("phase") == "Checking"

        await scene.eventually(went_on)
    assert (await scene.status())["epoch"] == 5
    events = await scene.kube.select(names.object_path("api/v1", "events", scene.namespace))
    assert [e["reason"] for e in events] == ["TurnFailed"]
    assert "gone" in events[0]["message"]


async def test_the_route_waits_for_labels_that_failed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    patched: list[Any] = []

    async def patch(*args: Any) -> None:
        patched.append(args)

    monkeypatch.setattr(route, "patch", patch)
    change = PatchRoute(rule_index=0, rule="all", backends=(), resource_version="1")

    def decide(o: Observation) -> tuple[Status, list[Action]]:
        return replace(o.status, phase=Phase.CHECKING), [
            SetLabels(pod="gone", baseline=True, canary=False),
            change,
            PersistStatus(),
        ]

    async with running(scene.loop(decide, wait=0.01)):

        async def went_on() -> bool:
            return (await scene.status()).get("phase") == "Checking"

        await scene.eventually(went_on)
    assert patched == []


async def test_what_relies_on_a_failure_waits_for_the_next_look(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finalizer goes only with the objects, an epoch is used only once it is written."""

    async def refused(*_: Any) -> None:
        raise KubeError(403, "Forbidden", "no deletion")

    monkeypatch.setattr(workload, "delete", refused)

    def decide(o: Observation) -> tuple[Status, list[Action]]:
        return o.status, [DeleteWorkload(), RemoveFinalizer()]

    async with running(scene.loop(decide, wait=0.01)):

        async def told() -> bool:
            return bool(await scene.kube.select(names.object_path("api/v1", "events", scene.namespace)))

        await scene.eventually(told)
    assert (await scene.kube.get(scene.path()))["metadata"]["finalizers"] == [names.FINALIZER]


async def test_a_rollout_whose_turns_fail_says_so_until_one_succeeds(scene: Scene) -> None:
    fails = True

    def decide(o: Observation) -> tuple[Status, list[Action]]:
        if fails:
            raise ZeroDivisionError("a fault")
        return replace(o.status, phase=Phase.CHECKING, conditions=()), [PersistStatus()]

    await scene.write(phase="Checking")
    loop = scene.loop(decide)
    async with running(loop):

        async def shown() -> bool:
            return any(
                c["type"] == "OperatorHealthy" and c["status"] == "False"
                for c in (await scene.status()).get("conditions", [])
            )

        await scene.eventually(shown)
        (condition,) = (await scene.status())["conditions"]
        assert "ZeroDivisionError: a fault" in condition["message"]
        fails = False
        loop.wake()

        async def over() -> bool:
            return not (await scene.status()).get("conditions")

        await scene.eventually(over)


async def test_a_fault_of_the_planners_does_not_end_the_loop(scene: Scene) -> None:
    def decide(o: Observation) -> tuple[Status, list[Action]]:
        if len(scene.seen) == 1:
            raise ZeroDivisionError("a fault")
        return replace(o.status, phase=Phase.CHECKING), [PersistStatus()]

    async with running(scene.loop(decide)):

        async def went_on() -> bool:
            return (await scene.status()).get("phase") == "Checking"

        await scene.eventually(went_on)

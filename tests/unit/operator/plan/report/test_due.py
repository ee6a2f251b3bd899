"""Tests how long a rollout at rest can wait, for a look and for a plan."""

from datetime import timedelta
from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_operator.api.status import AT_REST, Phase
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.report import due

from tests.unit.operator.plan.build import QUALITY, at, engine, pod, situation, spec, status

LEAST = int(due.AT_LEAST.total_seconds())
SECOND = timedelta(seconds=1)
HOUR = 3600.0


def told(permit: float = HOUR, left: float | None = None, name: str = "a", **changes: Any) -> EnginePod:
    """Return a pod whose engine has so much left of its permit."""
    remaining = permit if left is None else left
    return pod(name, engine(Mode.ON, permit_remaining_seconds=remaining), **changes)


def rest(*pods: EnginePod, permit: float = HOUR, phase: Phase = Phase.PROMOTED, **changes: Any) -> Situation:
    """Return a rollout at rest whose pods were told a permit of so many seconds."""
    kept = [{"name": p.name, "desired": "on-promoted-1", "permitSeconds": permit} for p in pods]
    memory = Memory(key="", **changes.pop("memory", {}))
    return situation(*pods, status=status(phase, pods=kept), memory=memory, **changes)


@pytest.mark.parametrize("phase", list(Phase))
def test_what_is_in_motion_can_wait_for_nothing(phase: Phase) -> None:
    found = rest(told(), phase=phase)
    rests = phase in AT_REST
    assert due.latest(found, SECOND) == (due.LATEST if rests else SECOND)
    assert due.unchanged_for(found) == (due.AT_LEAST if rests else timedelta())


@pytest.mark.parametrize(
    ("permit", "expected"),
    [(12 * HOUR, due.LATEST), (60.0, 14 * SECOND), (5.0, 7 / 6 * SECOND), (1.0, SECOND)],
)
def test_looks_come_often_enough_to_renew_a_permit_more_than_once(permit: float, expected: timedelta) -> None:
    assert due.latest(rest(told(permit), permit=permit), SECOND) == expected


def test_the_shortest_permit_decides() -> None:
    kept = [{"name": n, "desired": "on-promoted-1", "permitSeconds": s} for n, s in (("a", HOUR), ("b", 60))]
    found = situation(told(name="a"), told(name="b"), status=status(Phase.PROMOTED, pods=kept))
    assert due.latest(found, SECOND) == 14 * SECOND


@pytest.mark.parametrize(
    ("left", "expected"),
    [(1000.0, 300.0), (760.0, 60.0), (700.0, 0.0), (500.0, 0.0)],
)
def test_a_plan_is_due_when_a_permit_is_to_be_renewed(left: float, expected: float) -> None:
    found = rest(told(1000.0, left), told(1000.0, name="b"), permit=1000.0)
    assert due.unchanged_for(found) == min(timedelta(seconds=expected), due.AT_LEAST)


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": None, "spec_problem": "x"},
        {"spec": spec(guardrails={"recall": {"min": 0.5}, **QUALITY})},
    ],
)
def test_what_depends_on_more_is_planned_at_each_look(changes: dict[str, Any]) -> None:
    assert due.unchanged_for(rest(told(), **changes)) == timedelta()


@pytest.mark.parametrize("lost", [pod("b", None, error="silent"), told(name="b", ready=False)])
def test_a_pod_that_is_not_well_is_planned_for_at_each_look(lost: EnginePod) -> None:
    assert due.unchanged_for(rest(told(), lost)) == timedelta()


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ({}, LEAST),
        ({"data_at": at(-10)}, 50),  # it gets old
        ({"data_at": at(-61)}, LEAST),
        ({"data_at": at(-400), "published_at": at(-500)}, 100),  # it is not written yet
        ({"data_at": at(-500), "published_at": at(-400)}, LEAST),
        ({"published_at": at(-599)}, LEAST),
    ],
)
def test_a_plan_is_due_when_evidence_gets_old_or_is_to_be_written(
    memory: dict[str, Any], expected: float
) -> None:
    assert due.unchanged_for(rest(told(), memory=memory)) == timedelta(seconds=expected)

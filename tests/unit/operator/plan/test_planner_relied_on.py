"""Tests what later looks rely on: it is written before it is acted on."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from indexcache_operator.api.status import CapStatus, Phase, RouteStatus, StepStatus, TrafficStatus
from indexcache_operator.plan.planner import plan
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT, SHADOW

from tests.unit.operator.plan.build import (
    KEPT,
    MOVED,
    WITH_CANARY,
    at,
    granted,
    intent,
    pod,
    route,
    spec,
    status,
    told,
)
from tests.unit.operator.plan.planned import kinds


def test_what_later_looks_rely_on_is_written_before_it_is_acted_on() -> None:
    """Each field for itself: a status that differs in it from what the plan wants is written."""
    last = StepStatus(index=0, weight=20, started_at=at(-3), reached_at=at(-2))
    before = status(
        Phase.CANARY,
        canary_pods=("a",),
        route=KEPT,
        step=last,
        traffic=TrafficStatus(desired=20, verified_generation=5),
    )
    pods = (pod("a", **MOVED), pod("b"), pod("c"))
    confirmed = told(
        {"a": ON_CANARY_PERMIT, "b": SHADOW, "c": SHADOW}, *pods, status=before, route=WITH_CANARY
    ).observation
    kept = tuple(replace(p, confirmed="life") if p.name == "a" else p for p in confirmed.status.pods)
    seen = replace(confirmed, status=replace(confirmed.status, pods=kept))
    wanted = plan(seen).status
    seen = replace(seen, status=wanted)
    assert "PersistStatus" not in kinds(plan(seen))
    changes: list[dict[str, Any]] = [
        {"pods": tuple(replace(p, confirmed="") for p in wanted.pods)},
        {"canary_pods": ()},
        {"traffic": TrafficStatus(desired=5)},
        {"route": RouteStatus(name="users", rule="generate", original_backends=())},
        {"fallback": intent(of_revision="other")},
        {"reach": granted(32, 64)},
        {"reach": granted(64, ahead="c")},
        {"reach": granted(64, cap=CapStatus(tokens=128, cause="RecallBelowThreshold"))},
    ]
    for change in changes:
        again = plan(
            replace(
                seen,
                status=replace(wanted, **change),
                route=route() if "route" in change else WITH_CANARY,
            )
        )
        assert "PersistStatus" in kinds(again), change
    quiet = replace(wanted, message="other", recall="1", conditions=(), observed_generation=0)
    assert "PersistStatus" not in kinds(plan(replace(seen, status=quiet)))


@pytest.mark.parametrize("change", [{"reached_at": None}, {"weight": 30}, {"requests_seen": 9}])
def test_the_time_of_a_step_is_relied_on_its_figures_are_not(change: dict[str, Any]) -> None:
    unrouted: dict[str, Any] = {"spec": spec(traffic={}), "route": None}
    last = StepStatus(index=0, weight=20, started_at=at(-3), reached_at=at(-2))
    before = status(Phase.CANARY, canary_pods=("a",), step=last, traffic=TrafficStatus(desired=20))
    seen = told(
        {"a": ON_CANARY_PERMIT, "b": SHADOW}, pod("a", canary_label=True), pod("b"), status=before, **unrouted
    ).observation
    wanted = plan(seen).status
    assert wanted.step is not None
    changed = replace(wanted, step=replace(wanted.step, **change))
    assert ("PersistStatus" in kinds(plan(replace(seen, status=changed)))) is ("reached_at" in change)


def test_what_is_kept_of_a_pod_is_relied_on() -> None:
    seen = told({"a": SHADOW}, pod("a"), status=status(Phase.SHADOWING)).observation
    first = plan(seen)
    (kept,) = first.status.pods
    for change, expected in (
        ({"permit": timedelta(seconds=5)}, True),
        ({"state": "off", "reason": "x"}, False),
    ):
        before = replace(first.status, pods=(replace(kept, **change),))
        found = plan(replace(seen, status=before), first.memory)
        assert ("PersistStatus" in kinds(found)) is expected

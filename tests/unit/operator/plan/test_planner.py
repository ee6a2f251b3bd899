"""Tests the way from one look to a plan: what is relied on, in which order things are done, and what stands
still."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from indexcache_core.contract import Mode, Reason
from indexcache_operator import model
from indexcache_operator.api.status import Phase, PodStatus, Status, TrafficStatus
from indexcache_operator.model import EnginePod, Plan
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.planner import plan
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT, ON_PROMOTED_PERMIT, SHADOW

from tests.unit.operator.plan.build import (
    KEPT,
    MOVED,
    ORIGINAL,
    REVISION,
    WITH_CANARY,
    at,
    engine,
    granted,
    hold,
    intent,
    pod,
    spec,
    status,
    told,
)
from tests.unit.operator.plan.planned import counted, kinds, planned

ON = engine(Mode.ON, epoch=3)


def steady(
    phase: Phase, kind: str | None, *pods: EnginePod, kept: dict[str, Any] | None = None, **changes: Any
) -> Plan[Memory]:
    """Return the second plan of a rollout in which everything is as it should be: the first wrote its
    status."""
    names = [p.name for p in pods]
    values = {"evidence": (), **(kept or {})}
    seen = told(
        dict.fromkeys(names, kind) if kind else {}, *pods, status=status(phase, **values), **changes
    ).observation
    first = plan(seen)
    return plan(replace(seen, status=first.status), first.memory)


@pytest.mark.parametrize(
    ("phase", "kind", "seconds"),
    [
        (Phase.SHADOWING, SHADOW, 0.5),
        (Phase.PROMOTED, ON_PROMOTED_PERMIT, 1.0),
        (Phase.FELL_BACK, None, 5.0),
    ],
)
def test_where_all_is_as_it_should_be_nothing_is_done_and_nothing_written(
    phase: Phase, kind: str | None, seconds: float
) -> None:
    found = steady(phase, kind, pod("a"), pod("b"))
    assert found.actions == ()
    assert found.next_look.total_seconds() == seconds
    assert found.status == steady(phase, kind, pod("a"), pod("b")).status


def test_kills_come_first_then_the_status_then_all_that_relies_on_it() -> None:
    falling = status(Phase.FALLING_BACK, fallback=intent(), route=KEPT, canary_pods=("a",))
    found = planned(
        pod("a", ON, **MOVED), pod("b"), pod("c", baseline_label=False), status=falling, route=WITH_CANARY
    )
    assert kinds(found) == ["Kill", "PersistStatus", "SetLabels", "PatchRoute", "PutFlags"]
    assert found.next_look.total_seconds() == 0.25
    kill, _, labels, patch, put = found.actions
    assert isinstance(kill, model.Kill)
    assert isinstance(labels, model.SetLabels)
    assert isinstance(patch, model.PatchRoute)
    assert isinstance(put, model.PutFlags)
    assert (kill.pod, labels.pod, patch.backends, put.pod) == ("a", "c", ORIGINAL, "a")
    assert put.desired.flags.mode is Mode.OFF


@pytest.mark.parametrize(
    ("phase", "changes", "expected"),
    [
        (Phase.CHECKING, {}, True),
        (Phase.SHADOWING, {}, True),
        (Phase.PROMOTED, {}, True),
        (Phase.FELL_BACK, {}, True),
        (
            Phase.FALLING_BACK,
            {"fallback": intent(), "pods": (PodStatus(name="a", permit=timedelta(seconds=60)),)},
            False,
        ),
    ],
)
def test_the_workload_is_made_where_engines_are_wanted(
    phase: Phase, changes: dict[str, Any], expected: bool
) -> None:
    def ensured(**more: Any) -> bool:
        return "EnsureWorkload" in kinds(
            planned(pod("a", None), status=status(phase, **changes), **{"workload_current": False, **more})
        )

    assert ensured() is expected
    assert not ensured(workload_current=True)
    assert not ensured(deleting=True)
    if phase is not Phase.CHECKING:
        assert not ensured(spec=None)


def test_nothing_is_deployed_for_a_spec_that_can_not_be() -> None:
    found = planned(
        status=status(Phase.CHECKING), workload_current=False, model_config={"architectures": ["Llama"]}
    )
    assert (found.status.phase, "EnsureWorkload" in kinds(found)) == (Phase.FAILED, False)


def test_a_deletion_ends_with_the_finalizer() -> None:
    found = planned(pod(), status=status(Phase.FALLING_BACK, fallback=intent("Deleted")), deleting=True)
    assert kinds(found)[-2:] == ["DeleteWorkload", "RemoveFinalizer"]
    assert "RemoveFinalizer" not in kinds(
        planned(pod(), status=status(Phase.FALLING_BACK, fallback=intent()))
    )


EVENTS: list[tuple[Status, dict[str, Any], tuple[str, str] | None]] = [
    (status(Phase.SHADOWING), {"annotations": {"indexcache.dev/kill": REVISION}}, ("Warning", "Killed")),
    (status(Phase.SHADOWING), {"spec": spec(indexCache={"pattern": "FFFS"})}, ("Normal", "Superseded")),
    (status(Phase.SHADOWING), {"deleting": True}, ("Normal", "Deleted")),
    (status(Phase.SHADOWING, route=KEPT), {"spec": spec(traffic={})}, ("Normal", "RouteChanged")),
    (status(Phase.SHADOWING, route=KEPT), {"route_holder": "first"}, ("Normal", "RouteTaken")),
    (status(Phase.SHADOWING, uid="before"), {"uid": "here"}, ("Normal", "Restored")),
    (status(Phase.FALLING_BACK, fallback=intent()), {}, ("Warning", "FellBack")),
    (status(Phase.FALLING_BACK, fallback=intent(), hold=hold()), {}, ("Warning", "FellBack")),
    (status(Phase.CHECKING, phase_started_at=at(-99)), {"route": None}, ("Warning", "Failed")),
    (status(Phase.CHECKING), {"spec": spec(indexCache={"pattern": "FFFS"})}, ("Normal", "Checking")),
    (status(Phase.SHADOWING), {}, None),
]


@pytest.mark.parametrize(("kept", "changes", "expected"), EVENTS)
def test_a_phase_that_begins_is_an_event(
    kept: Status, changes: dict[str, Any], expected: tuple[str, str] | None
) -> None:
    found = (
        planned(status=kept, **changes)
        if kept.phase is not Phase.FALLING_BACK
        else planned(pod(), status=kept, **changes)
    )
    events = [a for a in found.actions if isinstance(a, model.Event)]
    assert [(e.type, e.reason) for e in events] == ([expected] if expected else [])
    for event in events:
        origin = found.status.fallback.origin if found.status.fallback else None
        whose = f" ({origin.value})" if origin else ""
        assert event.message == f"{found.status.phase.value}{whose}: {found.status.message}"[:1000]


def test_a_try_that_is_held_is_told_as_that_and_as_no_failure() -> None:
    held = hold("TooLittleTraffic")
    kept = status(Phase.FALLING_BACK, fallback=intent("TooLittleTraffic"), hold=held)
    seen = told({"a": SHADOW}, pod("a"), status=kept)
    found = planned(*seen.observation.pods, status=seen.observation.status)
    assert found.status.phase is Phase.SHADOWING
    events = [a for a in found.actions if isinstance(a, model.Event)]
    assert [(e.type, e.reason) for e in events] == [("Normal", "Held")]


def test_an_event_is_cut_to_what_the_api_takes() -> None:
    found = planned(pod(), status=status(Phase.FALLING_BACK, fallback=intent(message="x" * 2000)))
    assert [len(a.message) for a in found.actions if isinstance(a, model.Event)] == [1000]


def told_of(*pods: EnginePod, **changes: Any) -> tuple[PodStatus, ...]:
    return planned(*pods, status=status(Phase.FELL_BACK, **changes)).status.pods


def test_what_engines_say_of_themselves_is_shown() -> None:
    found = told_of(
        pod("a", engine(Mode.TRIPPED, reason=Reason.BREAKER)),
        pod("b", None, error="timeout", problem="crashed"),
        pod("c", None, problem="image not found"),
        pod("d", None, error="x" * 300),
        pod("e", None),
        canary_pods=("b",),
    )
    assert [(p.name, p.state, p.reason, p.canary) for p in found] == [
        ("a", "tripped", "Breaker", False),
        ("b", "unreachable", "timeout", True),
        ("c", "unreachable", "image not found", False),
        ("d", "unreachable", "x" * 256, False),
        ("e", "unreachable", "", False),
    ]


def test_the_generation_is_written_and_conditions_and_revision_with_it() -> None:
    found = planned(pod()).status
    assert found.observed_generation == 3
    assert {c.observed_generation for c in found.conditions} == {3}


def test_an_old_intent_ends_no_new_try() -> None:
    found = planned(pod(), status=status(Phase.SHADOWING, fallback=intent(of_revision="other")))
    assert (found.status.phase, found.status.fallback) == (Phase.SHADOWING, None)


def test_a_pod_on_its_way_out_keeps_what_it_has_unless_all_go_back() -> None:
    pods = (pod("a"), pod("b", deleting=True))
    shadow = told({"a": SHADOW, "b": ON_CANARY_PERMIT}, *pods, status=status(Phase.SHADOWING)).observation
    after = {p.name: p.desired.rpartition("-")[0] for p in plan(shadow).status.pods}
    assert after == {"a": SHADOW, "b": ON_CANARY_PERMIT}
    back = told(
        {"a": SHADOW, "b": ON_CANARY_PERMIT}, *pods, status=status(Phase.FALLING_BACK, fallback=intent())
    ).observation
    assert {p.desired for p in plan(back).status.pods} == {"off"}


@pytest.mark.parametrize(("canary", "baseline", "verified"), [(40, 160, 5), (0, 160, None)])
def test_what_the_counters_show_of_the_weight_is_written(
    canary: int, baseline: int, verified: int | None
) -> None:
    def counts(a: int, b: int) -> tuple[EnginePod, EnginePod]:
        return pod("a", counted(0, a), **MOVED), pod("b", counted(0, b))

    kept = status(
        Phase.PROMOTING, canary_pods=["a"], route=KEPT, traffic=TrafficStatus(desired=20, previous=5)
    )
    first = planned(*counts(0, 0), status=kept, route=WITH_CANARY)
    second = planned(*counts(canary, baseline), status=kept, route=WITH_CANARY, memory=first.memory)
    assert second.status.traffic.verified_generation == verified
    assert second.status.traffic.observed == (20 if verified else 0)
    assert second.memory.contradicted_at == (None if verified else at(0))


@pytest.mark.parametrize(("contract", "mode"), [(1, Mode.SHADOW), (2, Mode.ON)])
def test_an_engine_that_knows_no_reach_is_not_put_under_a_bounded_one_after_the_promotion(
    contract: int, mode: Mode
) -> None:
    kept = status(Phase.PROMOTED, reach=granted(64))
    found = planned(pod("a", engine(contract=contract)), status=kept)
    (put,) = (action for action in found.actions if isinstance(action, model.PutFlags))
    assert put.desired.flags.mode is mode
    assert put.desired.flags.reach_tokens == (64 if mode is Mode.ON else None)

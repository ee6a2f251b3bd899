"""Tests the way from one look to a plan: what is relied on, in which order things are done, and what stands
still."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from indexcache_core.contract import Flags, Identity, Mode, Reason, Requests, Series, State
from indexcache_core.histogram import of
from indexcache_operator import model
from indexcache_operator.api.status import Phase, PodStatus, RouteStatus, Status, StepStatus, TrafficStatus
from indexcache_operator.model import EnginePod, Plan, Probe, ProbeSet
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.planner import plan
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT, ON_PROMOTED_PERMIT, SHADOW

from tests.unit.operator.plan.build import (
    KEPT,
    ORIGINAL,
    QUALITY,
    REVISION,
    WITH_CANARY,
    at,
    engine,
    intent,
    observation,
    pod,
    route,
    spec,
    status,
    told,
)

ON = engine(Mode.ON, epoch=3)
MOVED: dict[str, Any] = {"baseline_label": False, "canary_label": True}


def planned(*pods: EnginePod, memory: Memory | None = None, **changes: Any) -> Plan[Memory]:
    return plan(observation(*pods, **changes), memory)


def kinds(found: Plan[Memory]) -> list[str]:
    return [type(a).__name__ for a in found.actions]


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
    (status(Phase.FALLING_BACK, fallback=intent()), {}, ("Warning", "FellBack")),
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
        assert event.message == f"{found.status.phase.value}: {found.status.message}"[:1000]


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


def persisted(**changes: Any) -> bool:
    """Return whether a look at a status that lacks what is wanted has it written first."""
    return "PersistStatus" in kinds(planned(pod("a"), **changes))


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


PAUSED = spec(paused=True)
STEP = StepStatus(index=0, weight=20, started_at=at(-30), reached_at=at(-20))


@pytest.mark.parametrize(
    ("phase", "asked", "paused_at", "expected"),
    [
        (Phase.CANARY, PAUSED, None, at(0)),
        (Phase.SHADOWING, PAUSED, None, at(0)),
        (Phase.PROMOTED, PAUSED, None, None),
        (Phase.CANARY, PAUSED, at(-5), at(-5)),
        (Phase.CANARY, spec(), at(-5), None),
        (Phase.CANARY, spec(), None, None),
        (Phase.PROMOTED, PAUSED, at(-5), None),
    ],
)
def test_when_a_pause_began(
    phase: Phase, asked: Any, paused_at: datetime | None, expected: datetime | None
) -> None:
    kept = status(phase, paused_at=paused_at, step=STEP, canary_pods=("a",))
    assert planned(pod("a"), pod("b"), status=kept, spec=asked).status.paused_at == expected


def test_deadlines_move_by_how_long_it_was_paused() -> None:
    kept = status(Phase.CANARY, paused_at=at(-5), step=replace(STEP, reached_at=None), canary_pods=("a",))
    after = planned(pod("a"), pod("b"), status=kept).status
    assert after.step is not None
    assert (after.step.started_at, after.phase_started_at) == (at(-25), at(-5))
    shadow = status(Phase.SHADOWING, paused_at=at(-5), phase_started_at=None)
    assert planned(pod(), status=shadow).status.phase_started_at is None
    assert planned(pod(), status=status(Phase.SHADOWING, paused_at=at(-5))).status.phase_started_at == at(-5)
    before = planned(pod("a"), pod("b"), status=kept, spec=PAUSED).status
    assert before.step is not None
    assert (before.step.started_at, before.phase_started_at) == (at(-30), at(-10))


def counted(reuse: int, baseline: int, incarnation: str = "life") -> State:
    return engine(
        Mode.SHADOW,
        requests=Requests(admitted_reuse=reuse, admitted_baseline=baseline),
        incarnation=incarnation,
    )


def seen_requests(phase: Phase, *looks: Sequence[State | None], kept: int = 0) -> int:
    """Count the requests seen in a phase, over these looks at its engines."""
    step = STEP if phase is Phase.CANARY else None
    memory: Memory | None = None
    for states in looks:
        pods = [pod(name, state) for name, state in zip("abc", states, strict=False)]
        memory = planned(*pods, memory=memory, status=status(phase, step=step, requests_seen=kept)).memory
    assert memory is not None
    return memory.requests_seen


def test_requests_are_counted_from_the_first_look_of_a_phase_on() -> None:
    first, second = [counted(10, 100), counted(0, 0)], [counted(13, 105), counted(0, 1)]
    assert seen_requests(Phase.SHADOWING, first) == 0
    assert seen_requests(Phase.SHADOWING, first, kept=7) == 7
    assert seen_requests(Phase.SHADOWING, first, second) == 9
    assert seen_requests(Phase.CANARY, first, second) == 3
    assert seen_requests(Phase.SHADOWING, first, second, second) == 9
    assert seen_requests(Phase.SHADOWING, first, second, kept=7) == 16


def test_a_counter_that_fell_takes_no_request_back_and_a_silent_engine_loses_none() -> None:
    assert seen_requests(Phase.SHADOWING, [counted(10, 0)], [counted(3, 0)]) == 0
    assert seen_requests(Phase.SHADOWING, [counted(10, 0)], [None], [counted(12, 0)]) == 2
    assert seen_requests(Phase.SHADOWING, [counted(10, 0)], [None, counted(5, 0)]) == 0
    assert seen_requests(Phase.SHADOWING, [None, counted(1, 0)], [counted(12, 0), counted(2, 0)]) == 1


def test_each_phase_and_step_has_a_count_of_its_own() -> None:
    pods = (pod("a", counted(0, 10)),)
    memory = planned(*pods, status=status(Phase.SHADOWING)).memory
    later = (pod("a", counted(4, 20)),)
    again = planned(*later, memory=memory, status=status(Phase.CANARY, step=STEP, requests_seen=2)).memory
    assert again.requests_seen == 2
    further = status(Phase.CANARY, step=replace(STEP, index=1, weight=50), requests_seen=0)
    assert planned(pod("a", counted(9, 20)), memory=again, status=further).memory.requests_seen == 0


def measured() -> State:
    """Return an engine in shadow for this try, with one observation."""
    found = Series.model_validate(
        {"site": 1, "context": 3, "mode": Mode.SHADOW, "overlap": of([0.9]), "recall": of([0.9])}
    )
    desired = Flags(mode=Mode.SHADOW, pattern="FSFS")
    return engine(
        Mode.SHADOW,
        series=(found,),
        identity=Identity(revision=REVISION),
        desired=desired,
        requests=Requests(contexts=(5,) * 9),
    )


@pytest.mark.parametrize(
    ("phase", "changes", "expected"),
    [
        (Phase.SHADOWING, {}, True),
        (Phase.PROMOTED, {}, True),
        (Phase.CHECKING, {}, False),
        (Phase.SHADOWING, {"spec": None}, False),
        (Phase.SHADOWING, {"spec": spec(indexCache={"pattern": "FFFS"})}, False),
    ],
)
def test_evidence_is_taken_up_where_the_phase_measures_what_the_spec_asks_for(
    phase: Phase, changes: dict[str, Any], expected: bool
) -> None:
    found = planned(pod("a", measured()), status=status(phase), **changes)
    assert bool(found.memory.totals) is expected
    assert (found.memory.context_counts is not None) is expected
    assert bool(found.status.evidence) is expected
    assert (found.memory.published_at == at(0)) is expected


def test_what_was_seen_of_silence_and_traffic_is_remembered() -> None:
    kept = status(Phase.CANARY, canary_pods=("a",), step=STEP, route=KEPT, traffic=TrafficStatus(desired=20))
    found = planned(pod("a", engine(Mode.SHADOW), baseline_label=False), pod("b"), status=kept)
    assert found.memory.mark is not None
    assert list(found.memory.draining) == [("a", "life")]


def test_an_old_intent_ends_no_new_try() -> None:
    found = planned(pod(), status=status(Phase.SHADOWING, fallback=intent(of_revision="other")))
    assert (found.status.phase, found.status.fallback) == (Phase.SHADOWING, None)


def test_probes_are_asked_and_that_is_remembered() -> None:
    asked = spec(guardrails={"recall": {"min": 0.5}, **QUALITY})
    on = engine(Mode.ON, identity=Identity(revision=REVISION))
    probes = ProbeSet(probes=(Probe(prompt="p", continuation="c", context_tokens=100),))
    found = planned(
        pod("a", on),
        pod("b"),
        status=status(Phase.CANARY, canary_pods=("a",), step=STEP),
        spec=asked,
        probes=probes,
    )
    assert kinds(found).count("RunProbes") == 1
    assert found.memory.probed_at == at(0)
    without = planned(
        pod("a", on), pod("b"), status=status(Phase.CANARY, canary_pods=("a",), step=STEP), spec=asked
    )
    assert (kinds(without).count("RunProbes"), without.memory.probed_at) == (0, None)


def test_a_pod_on_its_way_out_keeps_what_it_has_unless_all_go_back() -> None:
    pods = (pod("a"), pod("b", deleting=True))
    shadow = told({"a": SHADOW, "b": ON_CANARY_PERMIT}, *pods, status=status(Phase.SHADOWING)).observation
    after = {p.name: p.desired.rpartition("-")[0] for p in plan(shadow).status.pods}
    assert after == {"a": SHADOW, "b": ON_CANARY_PERMIT}
    back = told(
        {"a": SHADOW, "b": ON_CANARY_PERMIT}, *pods, status=status(Phase.FALLING_BACK, fallback=intent())
    ).observation
    assert {p.desired for p in plan(back).status.pods} == {"off"}


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

"""Tests what a plan remembers of a look: pauses, requests, evidence, probes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from indexcache_core.contract import Flags, Identity, Mode, Requests, Series, State
from indexcache_core.histogram import of
from indexcache_operator.api.status import Phase, StepStatus, TrafficStatus
from indexcache_operator.model import Probe, ProbeSet
from indexcache_operator.plan.facts.memory import Memory

from tests.unit.operator.plan.build import KEPT, QUALITY, REVISION, at, engine, pod, spec, status
from tests.unit.operator.plan.planned import counted, kinds, planned

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
        {"site": None, "context": 3, "work": "prefill", "mode": Mode.SHADOW, "recall": of([0.9])}
    )
    desired = Flags(mode=Mode.SHADOW, pattern="FSFS")
    return engine(
        Mode.SHADOW,
        observed=(found,),
        identity=Identity(revision=REVISION),
        desired=desired,
        requests=Requests(recent=(5,) * 9),
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
    assert bool(found.status.evidence) is expected
    assert (found.memory.published_at == at(0)) is expected


def test_what_was_seen_of_silence_and_traffic_is_remembered() -> None:
    kept = status(Phase.CANARY, canary_pods=("a",), step=STEP, route=KEPT, traffic=TrafficStatus(desired=20))
    found = planned(pod("a", engine(Mode.SHADOW), baseline_label=False), pod("b"), status=kept)
    assert found.memory.mark is not None
    assert list(found.memory.draining) == [("a", "life")]


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

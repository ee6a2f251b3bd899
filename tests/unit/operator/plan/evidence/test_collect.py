"""Tests one try's evidence, look after look."""

from dataclasses import replace
from typing import Any

from indexcache_core.contract import State
from indexcache_core.histogram import Histogram
from indexcache_operator.api.status import Status
from indexcache_operator.plan.evidence import collect
from indexcache_operator.plan.facts.memory import Memory

from tests.unit.operator.plan.build import (
    QUALITY,
    REVISION,
    at,
    case,
    pod,
    snapshot,
    spec,
    status,
)
from tests.unit.operator.plan.evidence.engines import SLOT, measured, recall_at, series


def observe(
    *states: State | None, memory: Memory | None = None, names: str = "abc", **changes: Any
) -> Memory:
    pods = [pod(name, state) for name, state in zip(names, states, strict=False)]
    return collect.observe(case(snapshot(*pods, **changes), memory=memory or Memory(key="try")))


def test_a_memory_belongs_to_one_try_under_one_question() -> None:
    fresh = collect.begin(snapshot(), None)
    known = replace(fresh, requests_seen=7)
    assert collect.begin(snapshot(), known) is known
    others = [
        snapshot(status=status(revision="other")),
        snapshot(status=status(revision_started_at=at(-1))),
        snapshot(spec=spec(guardrails={"recall": {"min": 0.6}})),
        snapshot(spec=None),
    ]
    assert [collect.begin(other, known).requests_seen for other in others] == [0] * 4
    assert len({collect.begin(seen, None).key for seen in [snapshot(), *others]}) == 5
    assert collect.begin(snapshot(), Memory(key="something else")) == fresh
    assert collect.begin(snapshot(spec=None), None).key == f"{REVISION}@{at(-100)}/"


def test_probes_are_taken_up_too() -> None:
    assert observe(spec=spec(guardrails=QUALITY)).quality == Histogram()
    assert observe().quality is None


def test_the_slot_of_a_look_is_its_second_since_the_try_began() -> None:
    young: Status = status(revision_started_at=at(-0.5))
    assert observe(measured(series([0.9])), status=young).detectors[recall_at(3)].slot == 1
    assert observe(measured(series([0.9]))).detectors[recall_at(3)].slot == SLOT


def test_a_wall_clock_that_jumps_spends_nothing_of_the_purse() -> None:
    first = observe(measured(series([0.9])))
    jumped = status(revision_started_at=at(-4000))
    for seconds, slot in ((7.5, SLOT + 7), (-3.0, SLOT)):
        uptime = snapshot().observation.uptime + seconds
        later = observe(measured(series([0.9, 0.8])), memory=first, status=jumped, uptime=uptime)
        assert later.detectors[recall_at(3)].slot == slot

"""Tests what is bet on new observations."""

from dataclasses import replace
from typing import Any

from indexcache_core.contexts import JUDGED
from indexcache_core.contract import Mode, State, Work
from indexcache_core.histogram import of
from indexcache_operator.plan.evidence import bets, counters
from indexcache_operator.plan.facts.memory import Memory, TestKey

from tests.unit.operator.plan.build import (
    spec,
)
from tests.unit.operator.plan.evidence.engines import (
    ALL,
    SLOT,
    bet,
    judged_by,
    look,
    measured,
    recall_at,
    series,
)


def placed(*states: State | None, **changes: Any) -> Memory:
    """Return the memory with the bets of a look at engines that say this."""
    seen = look(*states, **changes)
    return bets.place(seen.snapshot.spec, *counters.take_up(seen), SLOT)


def test_the_first_look_bets_once_on_all_that_the_counters_hold() -> None:
    memory = placed(
        measured(series([0.9, 0.1]), series([0.2], site=3), series([0.6], context=5, mode=Mode.ON))
    )
    assert set(memory.detectors) == {
        (TestKey("recall", None, c, w), m) for c in JUDGED for w in Work for m in (Mode.SHADOW, Mode.ON)
    }
    assert memory.detectors[recall_at(3)] == bet([0.9, 0.1])
    assert memory.detectors[recall_at(5, Mode.ON)] == bet([0.6])
    assert memory.detectors[recall_at(5)] == memory.detectors[recall_at(3, Mode.ON)] == bet([])


def test_later_looks_open_new_bets() -> None:
    memory = placed(measured(series([0.9])))
    earlier = replace(memory, detectors={key: replace(d, slot=90) for key, d in memory.detectors.items()})
    after = placed(measured(series([0.9, 0.1])), memory=earlier)
    assert after.detectors[recall_at(3)] == earlier.detectors[recall_at(3)].after(of([0.1]), 0.5, SLOT)
    assert after.detectors[recall_at(4)] == earlier.detectors[recall_at(4)]


def test_each_guardrail_bets_on_its_own_measure_and_groups() -> None:
    asked = spec(guardrails=ALL)
    found = (
        series([0.8], overlap=[0.25]),
        series([0.9], site=1, overlap=[0.2]),
        series([0.7], site=3, overlap=[0.3]),
        series([0.6], site=3, work=Work.DECODE),
    )
    bets_of = placed(measured(*found), spec=asked).detectors
    assert bets_of[judged_by("overlap"), Mode.SHADOW] == bet([0.25], 0.3)
    assert bets_of[judged_by("recall"), Mode.SHADOW] == bet([0.8])
    assert bets_of[judged_by("recall_per_indexer", 1), Mode.SHADOW] == bet([0.9], 0.25)
    assert bets_of[judged_by("recall_per_indexer", 3), Mode.SHADOW] == bet([0.7], 0.25)
    decoding = judged_by("recall_per_indexer", 3)._replace(work=Work.DECODE)
    assert bets_of[decoding, Mode.SHADOW] == bet([0.6], 0.25)
    assert bets_of[judged_by("recall_per_indexer", 3, 4), Mode.SHADOW] == bet([], 0.25)


def test_what_has_no_threshold_hides_no_other() -> None:
    memory = placed(
        measured(series([0.9], site=1)), spec=spec(guardrails={"recall": {"perIndexerMin": 0.25}})
    )
    assert {key.guardrail for key, _ in memory.detectors} == {"recall_per_indexer"}

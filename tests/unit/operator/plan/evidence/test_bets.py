"""Tests what is bet on new observations."""

from dataclasses import replace
from typing import Any

from indexcache_core.contexts import JUDGED
from indexcache_core.contract import Mode, State
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
        (TestKey("recall", None, c), m) for c in JUDGED for m in (Mode.SHADOW, Mode.ON)
    }
    assert memory.detectors[recall_at(3)] == bet([0.9, 0.1, 0.2])
    assert memory.detectors[recall_at(5, Mode.ON)] == bet([0.6])
    assert memory.detectors[recall_at(5)] == memory.detectors[recall_at(3, Mode.ON)] == bet([])


def test_later_looks_open_new_bets() -> None:
    memory = placed(measured(series([0.9])))
    earlier = replace(memory, detectors={key: replace(d, slot=90) for key, d in memory.detectors.items()})
    after = placed(measured(series([0.9, 0.1])), memory=earlier)
    assert after.detectors[recall_at(3)] == earlier.detectors[recall_at(3)].after(of([0.1]), 0.5, SLOT, 0.5)
    assert after.detectors[recall_at(4)] == earlier.detectors[recall_at(4)]


def test_each_guardrail_bets_on_its_own_measure_and_groups() -> None:
    asked = spec(guardrails=ALL)
    found = (series([0.9], overlap=[0.2]), series([0.7], site=3, overlap=[0.3]))
    memory = placed(measured(*found), spec=asked)
    assert memory.detectors[TestKey("overlap", None, 3), Mode.SHADOW] == bet([0.2, 0.3], 0.3)
    assert memory.detectors[TestKey("recall", None, 3), Mode.SHADOW] == bet([0.9, 0.7])
    assert memory.detectors[TestKey("recall_per_indexer", 1, 3), Mode.SHADOW] == bet([0.9], 0.25, share=1.0)
    assert memory.detectors[TestKey("recall_per_indexer", 3, 3), Mode.SHADOW] == bet([0.7], 0.25, share=1.0)
    assert memory.detectors[TestKey("recall_per_indexer", 3, 4), Mode.SHADOW] == bet([], 0.25, share=1.0)


def test_what_has_no_threshold_hides_no_other() -> None:
    memory = placed(measured(series([0.9])), spec=spec(guardrails={"recall": {"perIndexerMin": 0.25}}))
    assert {key.guardrail for key, _ in memory.detectors} == {"recall_per_indexer"}

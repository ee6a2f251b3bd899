"""Tests what engines counted since the last look."""

from dataclasses import replace

import pytest
from indexcache_core.contract import Mode, State, StepSeries, Work
from indexcache_core.histogram import Histogram, of
from indexcache_operator.plan.evidence import counters
from indexcache_operator.plan.facts.memory import SeriesKey, TestKey, TotalKey

from tests.unit.operator.plan.build import (
    REVISION,
    at,
    spec,
)
from tests.unit.operator.plan.evidence.engines import judged_by, look, measured, observe, series, total

OF_STEPS = StepSeries(site=1, context=3, mode=Mode.ON, recall=of([0.9]))
"""What an engine of contract 1 says."""


def test_what_is_new_is_added_up_over_engines() -> None:
    memory = observe(
        measured(series([0.9, 0.8])), None, measured(series([0.7], context=4), series([0.6], site=3))
    )
    assert memory.totals == {
        **{total(measure=m): of([0.9, 0.8]) for m in ("overlap", "recall")},
        **{total(context=4, measure=m): of([0.7]) for m in ("overlap", "recall")},
        **{total(site=3, measure=m): of([0.6]) for m in ("overlap", "recall")},
    }
    assert memory.data_at == at(0)
    assert memory.seen[SeriesKey("a", "life", 1, total())].unpacked() == of([0.9, 0.8])
    again = observe(measured(series([0.9, 0.8, 0.1])), memory=memory)
    assert again.totals[total()].counts == of([0.9, 0.8, 0.1]).counts


def test_two_engines_of_one_site_add_up_and_the_two_measures_stay_apart() -> None:
    memory = observe(measured(series([0.9], overlap=[0.2])), measured(series([0.7], overlap=[0.3])))
    assert memory.totals[total()] == of([0.9, 0.7])
    assert memory.totals[total(measure="overlap")] == of([0.2, 0.3])


def test_a_steady_counter_says_nothing_new() -> None:
    memory = observe(measured(series([0.9])))
    again = observe(measured(series([0.9])), memory=replace(memory, data_at=at(-7)))
    assert (again.totals, again.data_at, again.detectors) == (memory.totals, at(-7), memory.detectors)
    both = observe(measured(series([0.9]), series([0.8], site=3)), memory=memory)
    assert both.totals[total(site=3)] == of([0.8])
    assert both.totals[total()] == of([0.9])


def test_a_counter_that_fell_counts_from_zero() -> None:
    memory = observe(measured(series([0.9, 0.9])))
    assert (
        observe(measured(series([0.1])), memory=memory).totals[total()].counts == of([0.9, 0.9, 0.1]).counts
    )


def test_another_life_and_another_series_count_from_zero() -> None:
    memory = observe(measured(series([0.9])))
    after = observe(measured(series([0.9]), incarnation="next"), memory=memory)
    assert after.totals[total()].count == 2
    assert (
        observe(measured(series([0.9])).model_copy(update={"series_number": 2}), memory=memory)
        .totals[total()]
        .count
        == 2
    )


def test_what_is_known_of_an_engine_is_kept_while_its_pod_is_there() -> None:
    memory = observe(measured(series([0.9])), measured(series([0.8])))
    silent = observe(None, memory=memory)
    assert {key.pod for key in silent.seen} == {"a"}
    assert silent.totals == memory.totals


@pytest.mark.parametrize(
    "state",
    [
        None,
        measured(series([0.9]), revision="other"),
        measured(series([0.9]), pattern="FFFS"),
        measured(series([0.9]), protected=(3,)),
        measured(series([])),
        measured().model_copy(update={"series": (OF_STEPS,)}),
    ],
)
def test_only_what_was_measured_for_this_try_counts(state: State | None) -> None:
    memory = observe(state)
    assert (memory.totals, memory.data_at) == ({}, None)


def test_protected_indexers_are_part_of_the_try() -> None:
    asked = spec(indexCache={"pattern": "FSFS", "protected": [3]})
    assert counters.speaks_of(measured(protected=(3,)), asked, REVISION)
    assert not counters.speaks_of(measured(), asked, REVISION)


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (judged_by(), total(mode=Mode.ON)),
        (judged_by(site=3, context=5), total(site=3, context=5, mode=Mode.ON)),
        (TestKey("recall", None, 3, Work.DECODE), total(mode=Mode.ON, work=Work.DECODE)),
        (TestKey("recall", None, None, Work.PREFILL), None),
        (TestKey("recall", None, 3, None), None),
        (TestKey("quality"), None),
    ],
)
def test_a_test_counts_one_bucket_and_one_kind_of_work(test: TestKey, expected: TotalKey | None) -> None:
    assert counters.total_of("recall", test, Mode.ON) == expected


def test_what_is_new_is_found_by_measure_test_and_stream() -> None:
    known = observe(measured(series([0.9], overlap=[0.2])))
    now = measured(series([0.9, 0.5], overlap=[0.2, 0.3]), series([0.7], site=3, mode=Mode.ON))
    _, new = counters.take_up(look(now, now, memory=known))
    assert new.of("recall", judged_by(), Mode.SHADOW) == of([0.5, 0.9, 0.5])
    assert new.of("overlap", judged_by("overlap"), Mode.SHADOW) == of([0.3, 0.2, 0.3])
    assert new.of("recall", judged_by(site=3), Mode.ON) == of([0.7, 0.7])
    for nothing in (judged_by(), judged_by(site=1), TestKey("quality")):
        assert new.of("recall", nothing, Mode.ON) == Histogram()

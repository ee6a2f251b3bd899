"""What is kept of what was measured."""

import math

from hypothesis import given
from hypothesis import strategies as st
from indexcache_core.contract import Mode, context_bucket
from indexcache_runtime.engine import Measured, Row, StepPlan
from indexcache_runtime.measurements import Measurements, View

K = 64


def plan(rows: list[tuple[str, int]], series: int = 1, mode: Mode = Mode.ON) -> StepPlan:
    return StepPlan(mode, "FS", series, tuple(Row(*r) for r in rows))


def test_one_observation_is_one_request_in_one_step_and_bucket() -> None:
    m = Measurements(K)
    m.begin(1)
    m.add(
        plan([("a", 100), ("a", 120), ("a", 200), ("b", 100)]),
        Measured(overlap={1: [0.0, 0.5, 1.0, 0.75]}, recall={1: [0.2, 0.4, 1.0, 0.1]}),
    )
    short, long = m.view().render()
    assert (short.site, short.context, short.mode) == (1, context_bucket(101, K), Mode.ON)
    assert (short.overlap.count, short.overlap.sum) == (2, 0.25 + 0.75)
    assert (short.recall.count, round(short.recall.sum, 9)) == (2, 0.4)
    assert (long.context, long.overlap.count, long.overlap.sum) == (context_bucket(201, K), 1, 1.0)


def test_modes_are_kept_apart_and_another_series_starts_from_zero() -> None:
    m = Measurements(K)
    m.begin(1)
    one = Measured(overlap={1: [1.0]}, recall={1: [1.0]})
    m.add(plan([("a", 100)], mode=Mode.SHADOW), one)
    m.add(plan([("a", 100)]), one)
    m.begin(1)
    assert [s.mode for s in m.view().render()] == [Mode.ON, Mode.SHADOW]
    m.begin(2)
    m.add(plan([("a", 100)], series=1), one)  # a step of the old series that came back late
    assert m.view().render() == ()


def test_values_outside_are_clipped_and_no_number_counts_against_reuse() -> None:
    m = Measurements(K)
    m.begin(1)
    m.add(plan([("a", 100), ("b", 100)]), Measured(overlap={1: [1.0000001, 0.5]}, recall={1: [math.nan, 1.0]}))
    (s,) = m.view().render()
    assert (s.overlap.count, s.overlap.sum, s.recall.count, s.recall.sum) == (2, 1.5, 2, 1.0)


@given(st.lists(st.one_of(st.tuples(st.sampled_from("ab"), st.integers(64, 400)), st.sampled_from(["view", "keep", "begin"])), max_size=40))
def test_what_is_shown_is_what_was_measured_whenever_it_was_shown_before(doings: list[object]) -> None:
    m = Measurements(K)
    m.begin(1)
    number, measured, views = 1, list[tuple[StepPlan, Measured]](), list[View]()
    for doing in doings:
        if doing == "view":
            views.append(m.view())
            views[-1].render()
        elif doing == "keep":
            if views:
                m.keep(views.pop(0))
        elif doing == "begin":
            number += 1
            m.begin(number)
            measured.clear()
        else:
            assert isinstance(doing, tuple)
            measured.append((plan([doing], series=number), Measured(overlap={1: [0.5]}, recall={1: [0.25]})))
            m.add(*measured[-1])
    again = Measurements(K)
    again.begin(number)
    for step in measured:
        again.add(*step)
    assert m.view().render() == again.view().render()


def test_what_changed_while_it_was_rendered_is_rendered_again() -> None:
    m = Measurements(K)
    m.begin(1)
    one = Measured(overlap={1: [1.0]}, recall={1: [1.0]})
    m.add(plan([("a", 100)]), one)
    view = m.view()
    m.add(plan([("a", 100)]), one)
    (before,) = view.render()
    m.keep(view)
    (after,) = m.view().render()
    assert (before.overlap.count, after.overlap.count) == (1, 2)
    same = m.view()
    same.render()
    m.keep(same)
    assert not m.view().changed

"""Tests what is kept of what was measured."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexcache_core.contexts import context_bucket
from indexcache_core.contract import Mode, Series, Work
from indexcache_core.histogram import of
from indexcache_runtime.engine import Measured, Row, StepPlan
from indexcache_runtime.measuring.bookings import Cell
from indexcache_runtime.measuring.measurements import Measurements, View

K = 64


def plan(rows: list[tuple[str, int]], series: int = 1, mode: Mode = Mode.ON) -> StepPlan:
    return StepPlan(mode, "FS", series, tuple(Row(*r) for r in rows))


def at_sites(series: tuple[Series, ...]) -> list[Series]:
    """Return those of single sites, not of the mean over them."""
    return [s for s in series if s.site is not None]


def cell(context: int = 1, site: int | None = 1) -> Cell:
    return Cell(site, context, Work.PREFILL, Mode.ON)


def test_one_observation_is_one_request_in_one_bucket() -> None:
    m = Measurements(K)
    m.begin(1)
    m.add(
        plan([("a", 100), ("a", 120), ("a", 200), ("b", 100)]),
        Measured(overlap={1: [0.0, 0.5, 1.0, 0.75]}, recall={1: [0.2, 0.4, 1.0, 0.1]}),
    )
    m.add(plan([("b", 110)]), Measured(overlap={1: [0.25]}, recall={1: [0.3]}))
    m.ended(["a", "b"])
    mean_short, mean_long, short, long = m.view().render()
    assert (short.site, short.context, short.work, short.mode) == (
        1,
        context_bucket(101, K),
        Work.PREFILL,
        Mode.ON,
    )
    assert (short.overlap.count, short.overlap.sum) == (2, 0.25 + 0.5)
    assert (short.recall.count, round(short.recall.sum, 9)) == (2, 0.3 + 0.2)
    assert (long.context, long.overlap.count, long.overlap.sum) == (context_bucket(201, K), 1, 1.0)
    assert [mean_short, mean_long] == [s.model_copy(update={"site": None}) for s in (short, long)]


def test_nothing_is_shown_of_what_is_not_booked() -> None:
    m = Measurements(K)
    m.begin(1)
    m.add(plan([("a", 100)]), Measured(overlap={1: [0.5]}, recall={1: [0.5]}))
    assert m.prefilling == {"a"}
    assert (m.view().render(), m.take(9)) == ((), [])
    m.prefilled(["a"])
    assert m.prefilling == set()
    assert [s.recall.count for s in m.view().render()] == [1, 1]


def test_modes_and_kinds_of_work_are_kept_apart_and_another_series_starts_from_zero() -> None:
    m = Measurements(K)
    m.begin(1)
    one = Measured(overlap={1: [1.0]}, recall={1: [1.0]})
    m.add(plan([("a", 100)], mode=Mode.SHADOW), one)
    m.add(plan([("a", 100)]), one)
    m.add(StepPlan(Mode.ON, "FS", 1, (Row("a", 110, work=Work.DECODE),)), one)
    m.add(plan([("b", 100)]), one)
    m.ended(["a"])
    m.begin(1)
    assert [(s.work, s.mode) for s in at_sites(m.view().render())] == [
        (Work.DECODE, Mode.ON),
        (Work.PREFILL, Mode.ON),
        (Work.PREFILL, Mode.SHADOW),
    ]
    m.begin(2)
    m.add(plan([("a", 100)], series=1), one)  # a step of the old series that came back late
    m.ended(["a", "b"])
    assert m.view().render() == ()


def test_values_outside_are_clipped_and_no_number_counts_against_reuse() -> None:
    m = Measurements(K)
    m.begin(1)
    m.add(
        plan([("a", 100), ("b", 100)]), Measured(overlap={1: [1.0000001, 0.5]}, recall={1: [math.nan, 1.0]})
    )
    m.ended(["a", "b"])
    for s in m.view().render():
        assert (s.overlap.count, s.overlap.sum, s.recall.count, s.recall.sum) == (2, 1.5, 2, 1.0)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from("ab"), st.integers(64, 400)),
            st.sampled_from(["view", "keep", "begin", "end"]),
        ),
        max_size=40,
    )
)
def test_what_is_shown_is_what_was_measured_whenever_it_was_shown_before(doings: list[object]) -> None:
    m = Measurements(K)
    m.begin(1)
    number, measured, views = 1, list[tuple[StepPlan, Measured] | None](), list[View]()
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
        elif doing == "end":
            measured.append(None)
            m.ended("ab")
        else:
            assert isinstance(doing, tuple)
            step = plan([doing], series=number), Measured(overlap={1: [0.5]}, recall={1: [0.25]})
            measured.append(step)
            m.add(*step)
    again = Measurements(K)
    again.begin(number)
    for found in measured:
        if found is None:
            again.ended("ab")
        else:
            again.add(*found)
    assert m.view().render() == again.view().render()


def filled(
    *rows: tuple[str, int], recall: float = 0.5, overlap: float = 0.25, m: Measurements | None = None
) -> Measurements:
    """Return measurements with one step of site 1, at these positions of requests, all of which ended."""
    m = m or Measurements(K)
    m.begin(1)
    m.add(plan(list(rows)), Measured(overlap={1: [overlap] * len(rows)}, recall={1: [recall] * len(rows)}))
    m.ended(name for name, _ in rows)
    return m


def test_what_changed_while_it_was_rendered_is_rendered_again() -> None:
    m = filled(("a", 100))
    view = m.view()
    filled(("a", 100), m=m)
    before = view.render()
    m.keep(view)
    after = m.view().render()
    assert [s.overlap.count for s in before] == [1, 1]
    assert [s.overlap.count for s in after] == [2, 2]
    same = m.view()
    same.render()
    m.keep(same)
    assert not m.view().changed


@pytest.mark.parametrize(
    ("position", "context"),
    [(0, 0), (K - 1, 0), (K, 1), (2 * K - 1, 1), (2 * K, 2), (4 * K - 1, 2), (4 * K, 3)],
)
def test_a_row_is_measured_in_the_context_that_ends_with_it(position: int, context: int) -> None:
    """The token at a position has that many before it, and itself."""
    mean, series = filled(("a", position)).view().render()
    assert mean.context == series.context == context


def test_each_site_has_its_own_measurements_beside_their_mean() -> None:
    m = Measurements(K)
    m.begin(1)
    m.add(
        plan([("a", 100), ("b", 100)]),
        Measured(overlap={1: [0.2, 0.4], 3: [0.6, 0.8]}, recall={1: [0.0, 0.1], 3: [1.0, 0.9]}),
    )
    m.ended(["a", "b"])
    mean, one, three = m.view().render()
    assert (mean.site, one.site, three.site) == (None, 1, 3)
    assert (one.overlap, three.overlap) == (of([0.2, 0.4]), of([0.6, 0.8]))
    assert (one.recall, three.recall) == (of([0.0, 0.1]), of([1.0, 0.9]))
    assert (mean.overlap, mean.recall) == (of([(0.2 + 0.6) / 2, (0.4 + 0.8) / 2]), of([0.5, 0.5]))


def test_values_are_clipped_from_below_too() -> None:
    for s in filled(("a", 100), recall=-0.5).view().render():
        assert (s.recall.sum, s.recall.counts[0]) == (0.0, 1)


def test_what_is_new_is_taken_once() -> None:
    m = filled(("a", 100))
    assert m.take(9) == [(cell(site=site), of([0.25]), of([0.5])) for site in (1, None)]
    assert m.take(9) == []
    filled(("a", 100), recall=0.75, m=m)
    assert m.take(9) == [(cell(site=site), of([0.25]), of([0.75])) for site in (1, None)]


def taken(m: Measurements, limit: int) -> list[tuple[int | None, int, int]]:
    """Return site, bucket of context length and count of what is taken."""
    return [(found.site, found.context, overlap.count) for found, overlap, _ in m.take(limit)]


def test_a_limited_take_leaves_the_rest_for_the_next_the_longest_waiting_first() -> None:
    m = filled(("a", 100))
    filled(("a", 200), m=m)
    filled(("a", 100), m=m)
    assert taken(m, 1) == [(1, 1, 2)]
    filled(("a", 100), m=m)
    assert taken(m, 2) == [(None, 1, 3), (1, 2, 1)]
    assert taken(m, 9) == [(None, 2, 1), (1, 1, 1)]


def test_all_of_a_series_can_be_taken_again() -> None:
    m = filled(("a", 100))
    m.take(9)
    filled(("a", 200), m=m)
    m.retake()
    assert taken(m, 9) == [(1, 1, 1), (None, 1, 1), (1, 2, 1), (None, 2, 1)]
    assert m.take(9) == []


def test_a_new_series_has_nothing_to_take_of_the_last() -> None:
    m = filled(("a", 100))
    m.add(plan([("b", 100)]), Measured(overlap={1: [0.25]}, recall={1: [0.5]}))
    assert m.begin(2)
    assert not m.begin(2)
    assert m.prefilling == set()
    m.ended(["b"])
    assert m.take(9) == []
    m.add(plan([("a", 100)], series=2), Measured(overlap={1: [0.25]}, recall={1: [0.5]}))
    m.ended(["a"])
    assert m.take(9) == [(cell(site=site), of([0.25]), of([0.5])) for site in (1, None)]


def test_nothing_is_kept_before_a_series_begins_and_none_is_numbered_zero_twice() -> None:
    m = Measurements(K)
    assert not m.begin(0)
    m.add(plan([("a", 100)]), Measured(overlap={1: [1.0]}, recall={1: [1.0]}))
    m.ended(["a"])
    assert m.view().render() == ()


def test_what_is_viewed_and_taken_no_longer_changes() -> None:
    m = filled(("a", 100))
    view, new = m.view(), m.take(9)
    filled(("a", 100), m=m)
    assert [s.overlap.count for s in view.render()] == [1, 1]
    assert [overlap.count for _, overlap, _ in new] == [1, 1]


def test_what_was_shown_is_rendered_again_only_where_it_changed() -> None:
    m = filled(("a", 100), ("b", 200))
    view = m.view()
    view.render()
    m.keep(view)
    filled(("a", 100), m=m)
    again = m.view()
    assert list(again.changed) == [cell(), cell(site=None)]
    assert [(s.site, s.context, s.overlap.count) for s in again.render()] == [
        (None, 1, 2),
        (None, 2, 1),
        (1, 1, 2),
        (1, 2, 1),
    ]


def test_a_view_that_another_overtook_is_not_kept() -> None:
    m = filled(("a", 100))
    old, new = m.view(), m.view()
    old.render()
    m.keep(old)
    assert len(m.view().changed) == 2
    new = m.view()
    new.render()
    m.keep(new)
    assert not m.view().changed


def test_a_view_of_the_last_series_is_not_kept() -> None:
    m = filled(("a", 100))
    view = m.view()
    view.render()
    m.begin(2)
    m.keep(view)
    assert m.view().render() == ()


def test_a_view_of_the_last_series_is_not_kept_after_a_view_of_the_next() -> None:
    m = filled(("a", 100))
    old = m.view()
    old.render()
    m.begin(2)
    m.add(plan([("a", 100)], series=2), Measured(overlap={1: [1.0]}, recall={1: [1.0]}))
    m.ended(["a"])
    m.view()
    m.keep(old)
    assert [s.overlap for s in m.view().render()] == [of([1.0])] * 2


def test_before_a_series_is_numbered_it_is_number_zero() -> None:
    m = Measurements(K)
    assert m.take(9) == []
    m.add(plan([("a", 100)], series=0), Measured(overlap={1: [0.25]}, recall={1: [0.5]}))
    m.ended(["a"])
    assert m.take(9) == [(cell(site=site), of([0.25]), of([0.5])) for site in (1, None)]

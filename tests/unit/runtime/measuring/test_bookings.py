"""Tests what makes one observation of a request's rows, and when."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from indexcache_core.contexts import context_bucket
from indexcache_core.contract import DECODED_TOKENS, Mode, Work
from indexcache_runtime.engine import Measured, Row, StepPlan
from indexcache_runtime.measuring.bookings import Bookings, Cell, Observation

K = 64
PROMPT, DECODE = Work.PREFILL, Work.DECODE


class Engine:
    """Tells bookings what steps measured, and keeps what they booked."""

    def __init__(self) -> None:
        self.bookings = Bookings(K)
        self.booked: list[Observation] = []

    def step(
        self,
        *rows: tuple[str, int],
        recall: float = 0.5,
        overlap: float = 0.25,
        work: Work = PROMPT,
        mode: Mode = Mode.ON,
        sites: tuple[int, ...] = (1,),
    ) -> list[Observation]:
        """Add a step that measured these positions of requests, all alike. Returns what it booked."""
        values = (
            {site: [overlap] * len(rows) for site in sites},
            {site: [recall] * len(rows) for site in sites},
        )
        return self.add(rows, Measured(*values), work, mode)

    def add(
        self, rows: tuple[tuple[str, int], ...], measured: Measured, work: Work = PROMPT, mode: Mode = Mode.ON
    ) -> list[Observation]:
        """Add a step's rows. Returns what it booked."""
        plan = StepPlan(mode, "FSFS", 1, tuple(Row(name, position, 0, work) for name, position in rows))
        return self._keep(self.bookings.add(plan, measured))

    def prefilled(self, *requests: str) -> list[Observation]:
        """Note that prompts are computed. Returns what that booked."""
        return self._keep(self.bookings.prefilled(requests))

    def ended(self, *requests: str) -> list[Observation]:
        """Note that requests ended. Returns what that booked."""
        return self._keep(self.bookings.ended(requests))

    def _keep(self, observations: Iterator[Observation]) -> list[Observation]:
        found = list(observations)
        self.booked += found
        return found


def both(
    context: int, recall: float = 0.5, overlap: float = 0.25, work: Work = PROMPT, mode: Mode = Mode.ON
) -> list[Observation]:
    """Return what is booked of a request that was measured at site 1 alone: that, and the mean over sites."""
    return [Observation(Cell(site, context, work, mode), overlap, recall) for site in (1, None)]


def test_a_request_of_many_steps_is_one_observation_the_mean_over_its_rows() -> None:
    e = Engine()
    assert e.step(("a", 130), recall=0.0) == []
    assert e.step(("a", 150), ("a", 160), recall=0.75) == []
    assert e.step(("a", 200), recall=0.5) == []
    assert e.prefilled("a") == both(2, recall=(0.0 + 0.75 + 0.75 + 0.5) / 4)


def test_requests_of_one_step_are_an_observation_each() -> None:
    e = Engine()
    e.add((("a", 130), ("a", 140), ("b", 130)), Measured({1: [0.0, 0.5, 1.0]}, {1: [0.25, 0.75, 0.0]}))
    assert e.prefilled("a", "b") == both(2, 0.5, 0.25) + both(2, 0.0, 1.0)


def test_what_leaves_a_bucket_is_booked_by_that_and_only_then() -> None:
    e = Engine()
    e.step(("a", 4 * K - 1), recall=0.25)
    assert e.step(("b", 4 * K)) == []
    assert e.step(("a", 4 * K)) == both(2, recall=0.25)
    assert e.ended("a") == both(3)


def test_rows_of_one_step_may_lie_in_several_buckets() -> None:
    e = Engine()
    assert e.step(("a", K), ("a", 2 * K), ("a", 4 * K)) == both(1) + both(2)


def test_prompts_are_booked_once_they_are_computed_and_what_is_generated_goes_on() -> None:
    e = Engine()
    e.step(("a", 130), recall=0.25)
    e.step(("a", 140), recall=0.75, work=DECODE)
    assert e.prefilled("a") == both(2, recall=0.25)
    assert e.prefilled("a") == []
    assert e.ended("a") == both(2, recall=0.75, work=DECODE)


def test_a_request_that_ends_books_what_is_left_of_both_kinds_of_work() -> None:
    e = Engine()
    e.step(("a", 130))
    e.step(("a", 140), work=DECODE)
    assert e.ended("a") == both(2) + both(2, work=DECODE)
    assert e.ended("a") == []


def test_what_is_generated_is_booked_after_so_many_tokens_and_not_before_an_end() -> None:
    """They are counted from the first that was measured, whether all were or few."""
    e = Engine()
    e.step(("a", 300), recall=0.0, work=DECODE)
    assert e.step(("a", 300 + DECODED_TOKENS - 1), recall=1.0, work=DECODE) == []
    assert e.step(("a", 300 + DECODED_TOKENS), recall=1.0, work=DECODE) == both(3, recall=0.5, work=DECODE)
    assert e.step(("a", 300 + 2 * DECODED_TOKENS), work=DECODE) == []
    assert e.ended("a") == []


def test_a_prompt_is_not_booked_by_its_length() -> None:
    e = Engine()
    for position in range(300, 300 + 3 * DECODED_TOKENS, 8):
        assert e.step(("a", position)) == []
    assert e.prefilled("a") == both(3)


def test_a_long_answer_is_an_observation_in_each_bucket_that_it_comes_through() -> None:
    e = Engine()
    for position in range(4 * K, 17 * K):
        e.step(("a", position), work=DECODE)
    e.ended("a")
    assert e.booked == both(3, work=DECODE) + both(4, work=DECODE) + both(5, work=DECODE)


def test_rows_that_come_after_the_booking_count_nothing() -> None:
    e = Engine()
    e.step(("a", 130))
    e.prefilled("a")
    assert e.step(("a", 140), recall=0.0) == []
    assert e.bookings.prefilling == set()
    assert e.prefilled("a") == e.ended("a") == []


def test_rows_computed_again_after_a_preemption_count_nothing() -> None:
    e = Engine()
    e.step(("a", 130), ("a", 250), ("a", 260), recall=1.0)  # the first of two chunks
    e.step(("a", 70), ("a", 130), ("a", 255), ("a", 257), recall=0.0)  # and once more, other rows of it
    e.step(("a", 270), recall=0.5)
    e.prefilled("a")
    e.step(("a", 280), recall=0.25, work=DECODE)
    e.step(("a", 130), ("a", 260), recall=0.0)
    e.prefilled("a")
    e.step(("a", 280), recall=0.0, work=DECODE)
    e.step(("a", 281), recall=0.75, work=DECODE)
    e.ended("a")
    assert e.booked == both(2, recall=1.0) + both(3, recall=0.75) + both(3, recall=0.5, work=DECODE)


def test_modes_are_kept_apart() -> None:
    e = Engine()
    e.step(("a", 130), recall=0.25, mode=Mode.SHADOW)
    assert e.step(("a", 140), recall=0.75) == both(2, recall=0.25, mode=Mode.SHADOW)
    e.step(("a", 150), recall=0.0, mode=Mode.SHADOW)
    e.ended("a")
    assert e.booked == both(2, recall=0.25, mode=Mode.SHADOW) + both(2, recall=0.75)


def test_what_was_computed_in_shadow_counts_again_where_reuse_computes_it_again() -> None:
    e = Engine()
    e.step(("a", 200), recall=0.25, mode=Mode.SHADOW)
    e.step(("a", 150), recall=0.75)
    e.ended("a")
    assert e.booked == both(2, recall=0.25, mode=Mode.SHADOW) + both(2, recall=0.75)


def test_the_mean_over_sites_is_that_of_their_means_however_often_each_was_measured() -> None:
    e = Engine()
    e.add((("a", 130),), Measured({1: [0.0], 3: [1.0]}, {1: [0.25], 3: [0.5]}))
    e.add((("a", 140), ("a", 150)), Measured({1: [0.5, 1.0]}, {1: [1.0, 1.0]}))
    e.add((("a", 160),), Measured({2: [0.75]}, {2: [0.0]}))
    found = {o.cell.site: (o.overlap, o.recall) for o in e.ended("a")}
    assert found == {1: (0.5, 0.75), 3: (1.0, 0.5), 2: (0.75, 0.0), None: (0.75, (0.75 + 0.5 + 0.0) / 3)}


def test_what_is_no_number_is_nothing_and_what_is_outside_is_clipped() -> None:
    e = Engine()
    e.add((("a", 130), ("a", 131)), Measured({1: [math.nan, 0.5]}, {1: [1.5, -0.5]}))
    e.add((("b", 130),), Measured({1: [math.inf]}, {1: [math.nan]}))
    assert e.ended("a", "b") == both(2, 0.5, 0.25) + both(2, 0.0, 1.0)


def test_a_request_that_ends_unmeasured_books_nothing() -> None:
    e = Engine()
    e.step(("a", 130))
    assert e.ended("b") == e.prefilled("b") == []
    assert e.ended("a") != []


def test_a_step_that_could_not_be_measured_is_none() -> None:
    e = Engine()
    assert e.add((("a", 130),), Measured()) == []
    assert e.bookings.prefilling == set()
    assert e.prefilled("a") == []
    e.step(("a", 140))
    assert e.prefilled("a") == both(2)


def test_prefilling_holds_exactly_what_waits() -> None:
    e = Engine()
    e.step(("a", 130), ("b", 130), ("c", 130))
    e.step(("d", 130), work=DECODE)
    assert e.bookings.prefilling == {"a", "b", "c"}
    e.prefilled("a", "d")
    assert e.bookings.prefilling == {"b", "c"}
    e.ended("b", "d")
    assert e.bookings.prefilling == {"c"}
    e.bookings.clear()
    assert e.bookings.prefilling == set()
    assert e.ended("c") == []


def test_a_prompt_whose_rows_are_booked_and_count_no_more_waits_for_nothing() -> None:
    e = Engine()
    for mode in (Mode.SHADOW, Mode.ON, Mode.SHADOW):
        e.step(("a", 130), mode=mode)
    assert e.booked == both(2, mode=Mode.SHADOW) + both(2)
    assert e.bookings.prefilling == set()


def test_a_name_that_is_used_again_is_another_request() -> None:
    e = Engine()
    for _ in range(2):
        e.step(("a", 130))
        assert e.prefilled("a") == both(2)
        e.step(("a", 140), work=DECODE)
        assert e.ended("a") == both(2, work=DECODE)
    assert e.bookings._requests == {}


# -------------------------------------------------------------------------------- whatever comes


class Told(NamedTuple):
    """Holds one row and what was measured of it."""

    request: str
    position: int
    work: Work
    mode: Mode
    values: dict[int, tuple[float, float]]
    """By site: overlap and recall."""


@dataclass
class Step:
    """Holds one step's rows, all in one mode and at the same sites."""

    rows: list[Told]


@dataclass
class Computed:
    """Says that a request's prompt is computed."""

    request: str


@dataclass
class Ended:
    """Says that a request ended."""

    request: str


Event = Step | Computed | Ended
NAMES = st.sampled_from("ab")
VALUES = st.sampled_from([0.0, 0.125, 0.5, 0.75, 1.0])


@st.composite
def steps(draw: st.DrawFn) -> Step:
    mode = draw(st.sampled_from([Mode.SHADOW, Mode.ON]))
    sites = draw(st.lists(st.integers(1, 3), unique=True, max_size=3))
    places = draw(st.sets(st.tuples(NAMES, st.integers(K, 6 * K)), min_size=1, max_size=4))
    works = {name: draw(st.sampled_from(Work)) for name in "ab"}
    return Step(
        [
            Told(name, position, works[name], mode, {s: (draw(VALUES), draw(VALUES)) for s in sites})
            for name, position in sorted(places)
        ]
    )


EVENTS = st.lists(st.one_of(steps(), st.builds(Computed, NAMES), st.builds(Ended, NAMES)), max_size=25)


def place(row: Told) -> tuple[int, Work, Mode]:
    return context_bucket(row.position + 1, K), row.work, row.mode


def expected(events: list[Event], name: str) -> Iterator[Observation]:
    """Yield what must be booked of requests of this name, if all end: of each, the mean over the first run of
    rows in a place."""
    for events_of_one in lives(events, name):
        runs: dict[tuple[int, Work, Mode], list[Told]] = {}
        current: dict[Work, list[Told]] = {}
        for row in events_of_one:
            if row is None:
                current.pop(Work.PREFILL, None)
                continue
            run = current.get(row.work)
            if run and run[-1].mode == row.mode and row.position <= run[-1].position:
                continue
            long = row.work is Work.DECODE and run and row.position - run[0].position >= DECODED_TOKENS
            if run and (place(run[0]) != place(row) or long):
                del current[row.work]
            if row.work not in current:
                if place(row) in runs:
                    continue
                current[row.work] = runs[place(row)] = []
            current[row.work].append(row)
        for where, run in runs.items():
            sites = sorted({site for row in run for site in row.values})
            means = [mean_of([row.values[site] for row in run if site in row.values]) for site in sites]
            for site, (overlap, recall) in zip([*sites, None], [*means, mean_of(means)], strict=True):
                yield Observation(Cell(site, *where), overlap, recall)


def lives(events: list[Event], name: str) -> list[list[Told | None]]:
    """Return the measured rows of each request of a name, in order; None: its prompt is computed."""
    out: list[list[Told | None]] = [[]]
    for event in events:
        match event:
            case Step(rows):
                out[-1] += [row for row in rows if row.request == name and row.values]
            case Computed(request) if request == name:
                out[-1].append(None)
            case Ended(request) if request == name:
                out.append([])
    return out


def mean_of(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    return sum(a for a, _ in pairs) / len(pairs), sum(b for _, b in pairs) / len(pairs)


def told(e: Engine, event: Event) -> list[Observation]:
    """Tell of an event. Returns what it booked."""
    match event:
        case Computed(request):
            return e.prefilled(request)
        case Ended(request):
            return e.ended(request)
        case Step(rows):
            sites = rows[0].values
            measured = Measured(
                {s: [row.values[s][0] for row in rows] for s in sites},
                {s: [row.values[s][1] for row in rows] for s in sites},
            )
            plan_rows = tuple(Row(r.request, r.position, 0, r.work) for r in rows)
            return e._keep(e.bookings.add(StepPlan(rows[0].mode, "FSSS", 1, plan_rows), measured))


def rounded(observations: list[Observation]) -> Counter[tuple[Cell, float, float]]:
    return Counter((o.cell, round(o.overlap, 9), round(o.recall, 9)) for o in observations)


@given(EVENTS)
@example([Step([Told("a", 130, PROMPT, Mode.ON, {1: (0.5, 0.5)})]), Computed("a"), Ended("a"), Ended("a")])
def test_each_request_is_counted_at_most_once_in_a_cell_whatever_the_order(events: list[Event]) -> None:
    for name in "ab":
        e, since = Engine(), Counter[Cell]()
        for event in (*events, Ended(name)):
            if isinstance(event, Step):
                event = Step([row for row in event.rows if row.request == name])
            if isinstance(event, Step) and not event.rows:
                continue
            since.update(o.cell for o in told(e, event))
            assert not since or max(since.values()) == 1
            if event == Ended(name):
                since.clear()


@given(EVENTS)
def test_what_is_booked_is_what_a_plain_reference_books(events: list[Event]) -> None:
    e = Engine()
    for event in (*events, Ended("a"), Ended("b")):
        told(e, event)
    reference = [o for name in "ab" for o in expected(events, name)]
    assert rounded(e.booked) == rounded(reference)
    assert e.bookings.prefilling == set()
    assert e.bookings._requests == {}


@given(EVENTS)
def test_prefilling_is_what_prefilled_would_book(events: list[Event]) -> None:
    e = Engine()
    for event in events:
        told(e, event)
    waiting = set(e.bookings.prefilling)
    assert {name for name in "ab" if e.prefilled(name)} == waiting
    assert e.bookings.prefilling == set()


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_how_many_rows_are_sampled_of_a_request_changes_nothing_of_how_often_it_counts(rows: int) -> None:
    e = Engine()
    for i in range(rows):
        e.step(("a", 65 * K + i * 60 * K // rows))
    e.prefilled("a")
    assert e.booked == both(7)

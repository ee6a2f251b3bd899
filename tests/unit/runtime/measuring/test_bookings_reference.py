"""Tests that what is booked is what a plain reference books, whatever comes in whatever order."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st
from indexcache_core.contexts import context_bucket
from indexcache_core.contract import DECODED_TOKENS, Mode, Work
from indexcache_runtime.engine import Measured, Row, StepPlan
from indexcache_runtime.measuring.bookings import Cell, Observation

from tests.unit.runtime.measuring.bookings_world import PROMPT, Engine, K


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

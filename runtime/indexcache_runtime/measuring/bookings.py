"""Makes one observation of what was measured of a request, in each bucket of context length, for prefill and
for decode. Pure, not thread-safe.

The rows of one request agree with each other far more than with those of other requests, and one request may
have a hundred thousand of them; so a bet on each row, or on each step, would be one bet made many times. What
evidence counts is requests.

A request's rows are added up where it is: in one bucket, of its prompt or of what it generates. Their mean is
*booked* when it leaves that, when its prompt is computed, when it ends, and of what it generates in a bucket
once that was DECODED_TOKENS, so that the evidence of a long answer doesn't wait for its end. Rows that come
after that, or again after a preemption, are not counted.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from indexcache_core.contexts import context_bucket
from indexcache_core.contract import DECODED_TOKENS, Mode, Work

from indexcache_runtime.engine import Measured, Row, StepPlan


class Cell(NamedTuple):
    """Says where an observation is counted."""

    site: int | None
    """None: the mean over the Shared sites."""
    context: int
    work: Work
    mode: Mode
    """shadow or on"""


class Observation(NamedTuple):
    """Holds what was measured of one request in one cell; both in [0, 1]."""

    cell: Cell
    overlap: float
    recall: float


class _Place(NamedTuple):
    """Says where a request is: what its rows are added up for."""

    context: int
    work: Work
    mode: Mode


@dataclass
class _Sums:
    """Adds up one site's rows."""

    rows: int = 0
    overlap: float = 0.0
    recall: float = 0.0


@dataclass
class _Tally:
    """Adds up a request's rows in one place."""

    place: _Place
    first: int
    """Position of the first row."""
    last: int
    """Position of the last row."""
    sites: dict[int, _Sums] = field(default_factory=dict)


@dataclass
class _Request:
    """Holds what is known of a request in flight."""

    open: dict[Work, _Tally] = field(default_factory=dict)
    booked: set[_Place] = field(default_factory=set)


class Bookings:
    """Adds up the rows of the requests in flight, in one series."""

    def __init__(self, k: int) -> None:
        self._k = k
        self._requests: dict[str, _Request] = {}
        self.prefilling: set[str] = set()
        """Requests of whose prompts there is something to book."""

    def clear(self) -> None:
        """Forget everything: another series begins."""
        self._requests.clear()
        self.prefilling.clear()

    def add(self, plan: StepPlan, measured: Measured) -> Iterator[Observation]:
        """Add a step's rows. Yields what is booked by that."""
        for i, row in enumerate(plan.rows if measured.overlap else ()):
            place = _Place(context_bucket(row.position + 1, self._k), row.work, plan.mode)
            request = self._requests.setdefault(row.request, _Request())
            tally = request.open.get(row.work)
            if tally is not None and plan.mode is tally.place.mode and row.position <= tally.last:
                continue  # computed again
            if tally is not None and _is_over(tally, place, row):
                yield from _book(request, row.work)
                tally = None
                if row.work is Work.PREFILL:
                    self.prefilling.discard(row.request)
            if place in request.booked:
                continue
            if tally is None:
                tally = request.open[row.work] = _Tally(place, row.position, row.position)
                if row.work is Work.PREFILL:
                    self.prefilling.add(row.request)
            tally.last = row.position
            for site, overlaps in measured.overlap.items():
                sums = tally.sites.setdefault(site, _Sums())
                sums.rows += 1
                sums.overlap += _value(overlaps[i])
                sums.recall += _value(measured.recall[site][i])

    def prefilled(self, requests: Iterable[str]) -> Iterator[Observation]:
        """Count what was measured of the prompts of these requests, all of which is computed."""
        for name in requests:
            self.prefilling.discard(name)
            if (request := self._requests.get(name)) is not None:
                yield from _book(request, Work.PREFILL)

    def ended(self, requests: Iterable[str]) -> Iterator[Observation]:
        """Count what is left of requests that ended, however."""
        for name in requests:
            self.prefilling.discard(name)
            if (request := self._requests.pop(name, None)) is not None:
                for work in Work:
                    yield from _book(request, work)


def _is_over(tally: _Tally, place: _Place, row: Row) -> bool:
    """Return whether a tally is to be booked before this row of the same work."""
    return tally.place != place or (row.work is Work.DECODE and row.position >= tally.first + DECODED_TOKENS)


def _book(request: _Request, work: Work) -> Iterator[Observation]:
    tally = request.open.pop(work, None)
    if tally is None:
        return
    request.booked.add(tally.place)
    means = {site: (s.overlap / s.rows, s.recall / s.rows) for site, s in tally.sites.items()}
    for site, (overlap, recall) in means.items():
        yield Observation(Cell(site, *tally.place), overlap, recall)
    if means:
        overlaps, recalls = zip(*means.values(), strict=True)
        mean = Cell(None, *tally.place)
        yield Observation(mean, sum(overlaps) / len(means), sum(recalls) / len(means))


def _value(value: float) -> float:
    """Return a value within [0, 1]. What is no number is 0: nothing is known to be covered."""
    return 0.0 if math.isnan(value) else min(max(value, 0.0), 1.0)

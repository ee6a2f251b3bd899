"""Which query rows of a step are measured, and where the measurements are kept.

What is sampled is rows, some tens a step, never whole steps: a step measured whole costs what an all-Full step costs. A row whose
context holds no more than k tokens chooses them all and is never sampled.
"""

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import TypeVar

from indexcache_core.contract import Mode, Series, context_bucket
from indexcache_core.histogram import BUCKETS, Histogram, bucket

from indexcache_runtime.engine import Measured, Row, StepPlan

_T = TypeVar("_T")
Cell = tuple[int, int, Mode]
"""Where measurements are kept: site, bucket of context length, shadow or on."""


@dataclass(frozen=True)
class Scheduled:
    """A request in a step: its tokens at positions [start, end) are computed."""

    request: str
    start: int
    end: int


def choose(step: Iterable[Scheduled], k: int, limit: int, rng: random.Random) -> tuple[Row, ...]:
    """At most `limit` rows of a step, each with a context of more than k tokens.

    Every request gets one row before any gets a second, prefill and decode requests in turn, each kind in random order; what is left
    goes to prefills, evenly. Within a request rows are drawn without replacement.
    """
    prefills: list[tuple[Scheduled, range]] = []
    decodes: list[tuple[Scheduled, range]] = []
    for s in step:
        if eligible := range(max(s.start, k), s.end):  # context = position + 1 > k
            (decodes if s.end - s.start == 1 else prefills).append((s, eligible))
    if limit <= 0 or not (prefills or decodes):
        return ()
    rng.shuffle(prefills)
    rng.shuffle(decodes)
    turns = list(_alternate(prefills, decodes))[:limit]
    counts = [1] * len(turns)
    left = limit - len(turns)
    while left:
        growing = [i for i, (_, eligible) in enumerate(turns) if counts[i] < len(eligible)]
        if not growing:
            break
        share = max(left // len(growing), 1)
        for i in growing[:left]:
            more = min(share, len(turns[i][1]) - counts[i])
            counts[i] += more
            left -= more
    return tuple(
        Row(s.request, position, position - s.start)
        for (s, eligible), count in zip(turns, counts, strict=True)
        for position in sorted(rng.sample(eligible, count))
    )


def _alternate(a: list[_T], b: list[_T]) -> Iterator[_T]:
    """One of each in turn, while there are any."""
    for pair in zip_longest(a, b):
        yield from (x for x in pair if x is not None)


@dataclass
class Counts:
    """A histogram that grows."""

    counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    sum: float = 0.0

    def add(self, value: float) -> None:
        """Count a value. What is no number counts as 0: nothing is known to be covered."""
        value = 0.0 if math.isnan(value) else min(max(value, 0.0), 1.0)
        self.counts[bucket(value)] += 1
        self.sum += value

    def copy(self) -> "Counts":
        """As it is now."""
        return Counts(self.counts.copy(), self.sum)

    def since(self, earlier: "Counts") -> Histogram:
        """What was counted after `earlier`, which was a copy of this."""
        counts = tuple(a - b for a, b in zip(self.counts, earlier.counts, strict=True))
        return Histogram.model_construct(counts=counts, sum=self.sum - earlier.sum)

    def freeze(self) -> Histogram:
        """As it travels. Not validated again: a large model's state holds a thousand of these."""
        return Histogram.model_construct(counts=tuple(self.counts), sum=self.sum)


class Measurements:
    """Cumulative measurements of one series after another, by site, bucket of context length and mode."""

    def __init__(self, k: int) -> None:
        self._k = k
        self._number = 0
        self._cells: dict[Cell, tuple[Counts, Counts]] = {}
        self._taken: dict[Cell, tuple[Counts, Counts]] = {}
        self._changed: dict[Cell, None] = {}

    def begin(self, number: int) -> bool:
        """From now on this series is measured. Whether it is another than before, which starts from zero."""
        if number == self._number:
            return False
        self._number, self._cells = number, {}
        self.retake()
        return True

    def take(self, limit: int) -> list[tuple[Cell, Histogram, Histogram]]:
        """Overlap and recall counted since they were last taken, of at most so many cells, the longest waiting first."""
        out = []
        for cell in list(islice(self._changed, limit)):
            del self._changed[cell]
            now, before = self._cells[cell], self._taken.get(cell, (Counts(), Counts()))
            out.append((cell, now[0].since(before[0]), now[1].since(before[1])))
            self._taken[cell] = now[0].copy(), now[1].copy()
        return out

    def retake(self) -> None:
        """Let all of the series be taken again, from its beginning."""
        self._taken, self._changed = {}, dict.fromkeys(self._cells)

    def add(self, plan: StepPlan, measured: Measured) -> None:
        """Count a step: one observation for each request and bucket, the mean over its rows. A step of another series is dropped."""
        if plan.series != self._number:
            return
        groups: dict[tuple[str, int], list[int]] = {}
        for i, row in enumerate(plan.rows):
            groups.setdefault((row.request, context_bucket(row.position + 1, self._k)), []).append(i)
        for site, overlaps in measured.overlap.items():
            recalls = measured.recall[site]
            for (_, context), rows in groups.items():
                cell = site, context, plan.mode
                overlap, recall = self._cells.setdefault(cell, (Counts(), Counts()))
                self._changed[cell] = None
                overlap.add(sum(overlaps[i] for i in rows) / len(rows))
                recall.add(sum(recalls[i] for i in rows) / len(rows))

    def copy(self) -> "Measurements":
        """As they are now, to be frozen elsewhere."""
        other = Measurements(self._k)
        other._number = self._number
        other._cells = {key: (overlap.copy(), recall.copy()) for key, (overlap, recall) in self._cells.items()}
        return other

    def freeze(self) -> tuple[Series, ...]:
        """All of the current series, in a stable order."""
        return tuple(
            Series.model_construct(
                site=site,
                context=context,
                mode=mode,  # type: ignore[arg-type]  # never off
                overlap=overlap.freeze(),
                recall=recall.freeze(),
            )
            for (site, context, mode), (overlap, recall) in sorted(self._cells.items())
        )

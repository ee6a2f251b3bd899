"""Keeps the observations of one series after another, by site, bucket of context length, kind of work and
mode. Pure, not thread-safe.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from itertools import islice

from indexcache_core.contract import Series
from indexcache_core.histogram import BUCKETS, Histogram, bucket

from indexcache_runtime.engine import Measured, StepPlan
from indexcache_runtime.measuring.bookings import Bookings, Cell, Observation


@dataclass
class Counts:
    """Counts values in a histogram that grows."""

    counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    sum: float = 0.0

    def add(self, value: float) -> None:
        """Count a value in [0, 1]."""
        self.counts[bucket(value)] += 1
        self.sum += value

    def copy(self) -> "Counts":
        """Return a copy of it as it is now."""
        return Counts(self.counts.copy(), self.sum)

    def since(self, earlier: "Counts") -> Histogram:
        """Return what was counted after `earlier`, which was a copy of this."""
        counts = tuple(a - b for a, b in zip(self.counts, earlier.counts, strict=True))
        return Histogram.model_construct(counts=counts, sum=self.sum - earlier.sum)

    def freeze(self) -> Histogram:
        """Return it as the state has it. Not validated again."""
        return Histogram.model_construct(counts=tuple(self.counts), sum=self.sum)


class Measurements:
    """Counts the observations of one series after another."""

    def __init__(self, k: int) -> None:
        self._bookings = Bookings(k)
        self._number = 0
        self._cells: dict[Cell, tuple[Counts, Counts]] = {}
        self._taken: dict[Cell, tuple[Counts, Counts]] = {}
        self._changed: dict[Cell, None] = {}
        self._shown: dict[Cell, Series] = {}
        """Cells as they travel, but for those that changed since: a large model has a thousand, of which few
        change between two calls."""
        self.version = 0
        """Grows whenever what is shown changes."""
        self._views, self._since = 0, set[Cell]()
        """How often they were viewed, and what changed since the last time."""

    def begin(self, number: int) -> bool:
        """Measure this series from now on. Returns whether it is another than before, which starts from
        zero."""
        if number == self._number:
            return False
        self._number, self._cells, self._shown = number, {}, {}
        self._bookings.clear()
        self.version += 1
        self._views += 1
        self.retake()
        return True

    def take(self, limit: int) -> list[tuple[Cell, Histogram, Histogram]]:
        """Return overlap and recall counted since they were last taken, of at most so many cells, the longest
        waiting first."""
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
        """Add what a step measured. A step of another series is dropped."""
        if plan.series == self._number:
            self._count(self._bookings.add(plan, measured))

    @property
    def prefilling(self) -> Set[str]:
        """Return the requests that wait for `prefilled`."""
        return self._bookings.prefilling

    def prefilled(self, requests: Iterable[str]) -> None:
        """Note that the prompts of these requests are computed, and what was measured of them was added."""
        self._count(self._bookings.prefilled(requests))

    def ended(self, requests: Iterable[str]) -> None:
        """Note that these requests ended, however."""
        self._count(self._bookings.ended(requests))

    def _count(self, observations: Iterable[Observation]) -> None:
        for cell, overlap, recall in observations:
            self.version += 1
            counts = self._cells.setdefault(cell, (Counts(), Counts()))
            self._changed[cell] = None
            self._shown.pop(cell, None)
            self._since.add(cell)
            counts[0].add(overlap)
            counts[1].add(recall)

    def view(self) -> "View":
        """Return what it takes to show them as they are now, to be rendered elsewhere: what changed since it
        was last shown is copied."""
        self._views += 1
        self._since.clear()
        changed = {
            cell: (o.copy(), r.copy()) for cell, (o, r) in self._cells.items() if cell not in self._shown
        }
        return View(self._views, dict(self._shown), changed)

    def keep(self, view: "View") -> None:
        """Keep what was rendered, so that it need not be again where it hasn't changed meanwhile."""
        if view.number == self._views:
            self._shown.update({cell: view.shown[cell] for cell in view.changed if cell not in self._since})


@dataclass
class View:
    """Holds the measurements at one time."""

    number: int
    shown: dict[Cell, Series]
    """As they travel."""
    changed: dict[Cell, tuple[Counts, Counts]]
    """Those that `render` must add."""

    def render(self) -> tuple[Series, ...]:
        """Return all of them, in a stable order."""
        for cell, (overlap, recall) in self.changed.items():
            self.shown[cell] = Series.model_construct(
                **cell._asdict(), overlap=overlap.freeze(), recall=recall.freeze()
            )
        return tuple(self.shown[cell] for cell in sorted(self.shown, key=_order))


def _order(cell: Cell) -> tuple[int, int, str, str]:
    """Return what cells are sorted by: the mean over the sites first."""
    site, context, work, mode = cell
    return (-1 if site is None else site, context, work, mode)

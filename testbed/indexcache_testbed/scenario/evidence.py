"""When the engines' counters first held the evidence, worked out again from the witness's record, apart from the operator."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from indexcache_core.contract import JUDGED_FROM, Mode, Series
from indexcache_core.histogram import Histogram

from indexcache_testbed.scenario.watch import Look


@dataclass(frozen=True)
class Measured:
    """Means over what engines measured, all judged contexts and Shared indexers together; None without any."""

    overlap: float | None
    recall: float | None
    lowest_recall: float | None
    """Of the Shared indexer with the lowest mean."""
    samples: int


def measured(looks: Sequence[Look], mode: Mode) -> Measured:
    """Over the whole series that the last look shows. Engines that restarted count from their restart."""
    series = [s for state in (looks[-1].states.values() if looks else ()) for s in judged(state.series, mode)]
    overlap, recall = total(s.overlap for s in series), total(s.recall for s in series)
    by_site = [total(s.recall for s in series if s.site == site).mean for site in {s.site for s in series}]
    lowest = min((m for m in by_site if m is not None), default=None)
    return Measured(overlap.mean, recall.mean, lowest, recall.count)


def judged(series: Iterable[Series], mode: Mode) -> list[Series]:
    """Those that guardrails judge by."""
    return [s for s in series if s.mode is mode and s.context >= JUDGED_FROM]


def total(histograms: Iterable[Histogram]) -> Histogram:
    """All together."""
    out = Histogram()
    for h in histograms:
        out = out.plus(h)
    return out

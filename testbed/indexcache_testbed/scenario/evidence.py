"""Tells when the engines' counters first held the evidence, worked out again from the witness's record, apart
from the operator.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from indexcache_core.contexts import JUDGED_FROM
from indexcache_core.contract import Mode, Series, Work
from indexcache_core.evidence.detector import Detector, fresh, log_e
from indexcache_core.evidence.guardrails import STREAMS
from indexcache_core.evidence.verdict import breached
from indexcache_core.histogram import Histogram

from indexcache_testbed.scenario.watch import Answers

Test = tuple[int | None, int, Work]
"""A Shared indexer, a bucket of context length, a kind of work."""


@dataclass(frozen=True)
class Measured:
    """Means over what engines measured of requests, all judged contexts, prefill and decode together; None
    without any.
    """

    overlap: float | None
    recall: float | None
    lowest_recall: float | None
    """Of the Shared indexer with the lowest mean."""
    samples: int
    """Observations of the mean over the Shared indexers."""


def measured(looks: Sequence[Answers], mode: Mode) -> Measured:
    """Return what was measured over the whole series that the last look shows. Engines that restarted count
    from their restart."""
    series = [
        s for state in (looks[-1].states.values() if looks else ()) for s in judged(state.observed, mode)
    ]
    means = [s for s in series if s.site is None]
    overlap, recall = total(s.overlap for s in means), total(s.recall for s in means)
    sites = {s.site for s in series} - {None}
    by_site = [total(s.recall for s in series if s.site == site).mean for site in sites]
    lowest = min((m for m in by_site if m is not None), default=None)
    return Measured(overlap.mean, recall.mean, lowest, recall.count)


def judged(series: Iterable[Series], mode: Mode) -> list[Series]:
    """Return those that guardrails judge by."""
    return [s for s in series if s.mode is mode and s.context >= JUDGED_FROM]


def total(histograms: Iterable[Histogram]) -> Histogram:
    """Return all of them together."""
    out = Histogram()
    for h in histograms:
        out = out.plus(h)
    return out


def first_breach(
    looks: Sequence[Answers], *, revision: str, began: float, minimum: float, alpha: float
) -> float | None:
    """Return the moment of the first look at which one Shared indexer's recall, in one bucket of context
    length and of one kind of work, is proven too low.

    The test is the one that the operator states (indexcache_core.evidence), fed with this record alone, the
    counters of all engines of the revision together: a detector for each stream, whose slots are the seconds
    since `began`, in seconds of time.monotonic(). So the moment is the one from which an operator that sees
    everything at once would know. `minimum`: the threshold; `alpha`: one test's part of the chance of a false
    rollback, as the rollout's status states it.
    """
    detectors: dict[Test, dict[Mode, Detector]] = {}
    before: dict[tuple[str, str, int, Test, Mode], Histogram] = {}
    for look in looks:
        slot = max(1, int(look.at - began) + 1)
        batches: dict[tuple[Test, Mode], Histogram] = {}
        for pod, state in look.states.items():
            if state.identity.revision != revision:
                continue
            for s in (s for mode in STREAMS for s in judged(state.observed, mode) if s.site is not None):
                test = s.site, s.context, s.work
                life = (pod, state.incarnation, state.series_number, test, s.mode)
                added = s.recall.since(before.get(life, Histogram()))
                before[life] = s.recall
                if added is not None:
                    batches[test, s.mode] = batches.get((test, s.mode), Histogram()).plus(added)
        for (test, mode), batch in batches.items():
            streams = detectors.setdefault(test, {stream: fresh() for stream in STREAMS})
            streams[mode] = streams[mode].after(batch, minimum, slot)
            if breached(log_e(list(streams.values())), alpha):
                return look.at
    return None


def last_renewal(looks: Sequence[Answers], permit: float) -> float | None:
    """Return when a permit of so many seconds was last renewed on any engine: its end, as the engines tell
    it, less its length.
    """
    ends = [
        look.at + state.permit_remaining_seconds
        for look in looks
        for state in look.states.values()
        if state.mode is Mode.ON and state.permit_remaining_seconds is not None
    ]
    return max(ends) - permit if ends else None

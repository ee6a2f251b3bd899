"""Tells what engines counted since the last look, by what asks for it.

Only what engines measured for this try counts (I6): the state must speak of this revision and of this
pattern.
"""

from collections.abc import Iterator
from dataclasses import replace

from indexcache_core.contract import State
from indexcache_core.histogram import Histogram

from indexcache_operator.api.spec import Spec
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts.memory import (
    Measure,
    Memory,
    SeriesKey,
    Stream,
    TestKey,
    TotalKey,
    total_key,
)
from indexcache_operator.plan.facts.packed import packed
from indexcache_operator.plan.facts.situation import Situation

Totals = dict[TotalKey, Histogram]


def take_up(situation: Situation) -> tuple[Memory, "Batches"]:
    """Return the memory with what engines counted since the last look, and the new observations by
    themselves.
    """
    snapshot, memory, new = situation.snapshot, situation.memory, Batches()
    present = {p.name for p in snapshot.observation.pods}
    seen = {key: histogram for key, histogram in memory.seen.items() if key.pod in present}
    for pod in snapshot.observation.pods:
        for key, histogram in _series(pod, snapshot.spec, situation.status.revision):
            last, now = memory.seen.get(key), packed(histogram)
            if last == now:
                continue
            since = histogram if last is None else histogram.since(last.unpacked())
            # A counter that fell without a new series number: count it from zero, as a new life.
            new.add(key.total, histogram if since is None else since)
            seen[key] = now
    totals = dict(memory.totals)
    for total, batch in new.by_total.items():
        totals[total] = totals.get(total, Histogram()).plus(batch)
    data_at = snapshot.now if any(batch.count for batch in new.by_total.values()) else memory.data_at
    return replace(memory, seen=seen, totals=totals, data_at=data_at), new


def speaks_of(state: State, spec: Spec, revision: str) -> bool:
    """Return whether an engine's measurements belong to this try."""
    flags = state.desired
    return (
        state.identity.revision == revision
        and flags.pattern == spec.index_cache.pattern
        and tuple(flags.protected) == tuple(spec.index_cache.protected)
    )


def _series(pod: EnginePod, spec: Spec, revision: str) -> Iterator[tuple[SeriesKey, Histogram]]:
    if pod.state is None or not speaks_of(pod.state, spec, revision):
        return
    measures: tuple[Measure, Measure] = ("overlap", "recall")
    for s in pod.state.observed:
        for measure, histogram in zip(measures, (s.overlap, s.recall), strict=True):
            if histogram.count:
                total = total_key(measure, s.site, s.context, s.work, s.mode)
                yield (
                    SeriesKey(pod.name, pod.state.incarnation, pod.state.series_number, total),
                    histogram,
                )


class Batches:
    """A look's new observations, by what asks for them."""

    def __init__(self) -> None:
        self.by_total: Totals = {}

    def add(self, total: TotalKey, new: Histogram) -> None:
        if new.count:
            self.by_total[total] = self.by_total.get(total, Histogram()).plus(new)

    def of(self, measure: Measure, test: TestKey, stream: Stream) -> Histogram:
        total = total_of(measure, test, stream)
        return self.by_total.get(total, Histogram()) if total is not None else Histogram()


def total_of(measure: Measure, test: TestKey, stream: Stream) -> TotalKey | None:
    """Return what a test counts in a stream; None for a test that has no bucket of contexts or kind of work
    of its own.
    """
    if test.context is None or test.work is None:
        return None
    return total_key(measure, test.site, test.context, test.work, stream)

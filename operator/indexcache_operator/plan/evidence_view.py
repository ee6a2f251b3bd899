"""From engines' counters to what each test says: takes what is new since the last look, and judges.

Only what engines measured for this try counts (I6): the state must speak of this revision and of this pattern. Certificates in Shadowing
rest on what was measured in shadow, afterwards on what was measured under reuse; detectors bet on both streams, half and half.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from indexcache_core.contract import JUDGED, Mode, State
from indexcache_core.evidence import detector, verdict
from indexcache_core.evidence.detector import Detector
from indexcache_core.evidence.guardrails import STREAMS
from indexcache_core.evidence.verdict import Judgement, Verdict
from indexcache_core.histogram import Histogram

from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import Phase
from indexcache_operator.model import EnginePod
from indexcache_operator.plan import contexts, quality_view
from indexcache_operator.plan.guardrails import CARRIES, Guardrail, guardrails, question
from indexcache_operator.plan.look import Look
from indexcache_operator.plan.memory import Measure, Memory, SeriesKey, Stream, TestKey, TotalKey
from indexcache_operator.plan.situation import Answer, Evidence, Situation

Totals = dict[TotalKey, Histogram]


def begin(look: Look, memory: Memory | None) -> Memory:
    """Return the memory of this try, or an empty one."""
    status = look.o.status
    key = f"{status.revision}@{status.revision_started_at}/{question(look.o.spec) if look.o.spec else ''}"
    return memory if memory is not None and memory.key == key else Memory(key=key)


def observe(situation: Situation) -> Memory:
    """Return the memory with what is new in this look."""
    since = situation.look.since(situation.status.revision_started_at)
    slot = int(since.total_seconds()) + 1
    memory, new = _absorb(situation)
    memory = _bet(situation.look.spec, memory, new, slot)
    return quality_view.observe(replace(situation, memory=memory), slot)


def _absorb(situation: Situation) -> tuple[Memory, "_Batches"]:
    """Return the memory with what engines counted since the last look, and the new observations by themselves."""
    look, memory, new = situation.look, situation.memory, _Batches()
    present = {p.name for p in look.o.pods}
    seen = {key: histogram for key, histogram in memory.seen.items() if key.pod in present}
    for pod in look.o.pods:
        for key, histogram in _series(pod, look.spec, situation.status.revision):
            last = memory.seen.get(key)
            if last == histogram:
                continue
            since = histogram if last is None else histogram.since(last)
            # A counter that fell without a new series number: count it from zero, as a new life.
            new.add(key, histogram if since is None else since)
            seen[key] = histogram
    totals = dict(memory.totals)
    for total, batch in new.by_total.items():
        totals[total] = totals.get(total, Histogram()).plus(batch)
    data_at = look.now if any(batch.count for batch in new.by_total.values()) else memory.data_at
    return replace(memory, seen=seen, totals=totals, data_at=data_at), new


def _bet(spec: Spec, memory: Memory, new: "_Batches", slot: int) -> Memory:
    """Return the memory with each detector's bet on the new observations; without detectors they take up what was there."""
    resuming = not memory.detectors
    detectors = dict(memory.detectors)
    for guardrail in guardrails(spec):
        if guardrail.measure is None or guardrail.threshold is None:
            continue
        for test, stream in product(guardrail.tests, STREAMS):
            batch = new.of(guardrail.measure, test, stream)
            if resuming:
                detectors[test, stream] = detector.resumed(batch, guardrail.threshold, slot, guardrail.share)
            elif batch.count:
                before = detectors[test, stream]
                detectors[test, stream] = before.after(batch, guardrail.threshold, slot, guardrail.share)
    return replace(memory, detectors=detectors)


def judge(situation: Situation) -> Evidence:
    """Return what the guardrails say now."""
    spec, memory = situation.look.spec, situation.memory
    unexposed = situation.status.phase in (Phase.PENDING, Phase.CHECKING, Phase.SHADOWING)
    stream: Stream = Mode.SHADOW if unexposed else Mode.ON
    shares = contexts.shares(memory, JUDGED)
    answers = tuple(
        _quality(guardrail, memory, spec) if guardrail.measure is None else _measured(guardrail, memory, spec, stream, shares)
        for guardrail in guardrails(spec)
    )
    return Evidence(answers=answers, shares=shares)


def _measured(guardrail: Guardrail, memory: Memory, spec: Spec, stream: Stream, shares: dict[int, float]) -> Answer:
    log_e = {test: detector.log_e(_detectors(memory, test)) for test in guardrail.tests}
    wanted = _wanted(guardrail, shares)
    judgements = _certificates(guardrail, spec, wanted, _grouped(guardrail, memory, stream), log_e)
    judgements |= _hidden_breaches(guardrail, spec, judgements, log_e)
    deciding = [judgement.verdict for key, judgement in judgements.items() if key in wanted or judgement.verdict is Verdict.BREACHED]
    nothing = Verdict.NO_DATA if guardrail.acts else Verdict.OBSERVING
    said = verdict.worst(deciding) if deciding else nothing
    return Answer(guardrail=guardrail, verdict=said, judgements=judgements)


def _grouped(guardrail: Guardrail, memory: Memory, stream: Stream) -> dict[TestKey, Histogram]:
    """Sum up all that was measured in a stream by the groups in which it is certified: an indexer, or a bucket of contexts."""
    grouped: dict[TestKey, Histogram] = {}
    for total, histogram in memory.totals.items():
        if total.measure != guardrail.measure or total.mode is not stream or total.context not in JUDGED:
            continue
        site, context = (total.site, None) if guardrail.by_site else (None, total.context)
        key = TestKey(guardrail.name, site, context)
        grouped[key] = grouped.get(key, Histogram()).plus(histogram)
    return grouped


def _wanted(guardrail: Guardrail, shares: dict[int, float]) -> set[TestKey]:
    """Return the certificates that are asked for: of each indexer, or of each bucket that carries enough of the traffic."""
    if guardrail.by_site:
        return {TestKey(guardrail.name, test.site, None) for test in guardrail.tests}
    carrying = (context for context in JUDGED if shares.get(context, 0.0) >= CARRIES)
    return {TestKey(guardrail.name, None, context) for context in carrying}


def _certificates(
    guardrail: Guardrail,
    spec: Spec,
    wanted: set[TestKey],
    grouped: dict[TestKey, Histogram],
    log_e: dict[TestKey, float],
) -> dict[TestKey, Judgement]:
    """Return a judgement of each group that is asked for or was measured, with the worst bet of the tests under it."""
    out = {}
    for key in sorted(wanted | {key for key, histogram in grouped.items() if histogram.count}, key=str):
        under = (e for test, e in log_e.items() if test.site == key.site and key.context in (None, test.context))
        out[key] = _judgement(guardrail, spec, grouped.get(key, Histogram()), max(under, default=0.0))
    return out


def _hidden_breaches(
    guardrail: Guardrail, spec: Spec, shown: dict[TestKey, Judgement], log_e: dict[TestKey, float]
) -> dict[TestKey, Judgement]:
    """Return the breaches that no judgement shows: one counts wherever it is, in a bucket that carries little, in the other stream."""
    out: dict[TestKey, Judgement] = {}
    for test, e in log_e.items():
        if not guardrail.acts or not verdict.breached(e, guardrail.alpha):
            continue
        if not any(judgement.log_e >= e for judgement in (*shown.values(), *out.values())):
            out[test] = _judgement(guardrail, spec, Histogram(), e)
    return out


def _judgement(guardrail: Guardrail, spec: Spec, histogram: Histogram, log_e: float) -> Judgement:
    return verdict.judge(
        histogram,
        guardrail.threshold,
        log_e=log_e,
        alpha=guardrail.alpha,
        beta=spec.confidence.bad_promotion,
        acts=guardrail.acts,
        share=guardrail.share,
    )


def _quality(guardrail: Guardrail, memory: Memory, spec: Spec) -> Answer:
    log_e = memory.quality_detector.log_e if memory.quality_detector else 0.0
    judgement = _judgement(guardrail, spec, memory.quality or Histogram(), log_e)
    return Answer(guardrail=guardrail, verdict=judgement.verdict, judgements={guardrail.tests[0]: judgement})


def decisive(memory: Memory, guardrail: Guardrail, test: TestKey) -> tuple[TestKey, float | None]:
    """Find the test under a judgement that holds most against the pattern, and the mean of what it saw."""
    under = [t for t in guardrail.tests if t.site == test.site and test.context in (None, t.context)]
    found = max(under, key=lambda t: detector.log_e(_detectors(memory, t)), default=test)
    histogram = Histogram()
    for total, h in memory.totals.items():
        if total.measure == guardrail.measure and total.context == found.context and found.site in (None, total.site):
            histogram = histogram.plus(h)
    return found, histogram.mean


def _detectors(memory: Memory, test: TestKey) -> list[Detector]:
    return [memory.detectors[test, s] for s in STREAMS if (test, s) in memory.detectors]


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
    for s in pod.state.series:
        for measure, histogram in zip(measures, (s.overlap, s.recall), strict=True):
            if histogram.count:
                yield SeriesKey(pod.name, pod.state.incarnation, pod.state.series_number, measure, s.site, s.context, s.mode), histogram


class _Batches:
    """A look's new observations, by what asks for them."""

    def __init__(self) -> None:
        self.by_total: Totals = {}
        self._overall: dict[tuple[Measure, int, Stream], Histogram] = {}

    def add(self, key: SeriesKey, new: Histogram) -> None:
        if not new.count:
            return
        total = TotalKey(key.measure, key.site, key.context, key.mode)
        self.by_total[total] = self.by_total.get(total, Histogram()).plus(new)
        overall = (key.measure, key.context, key.mode)
        self._overall[overall] = self._overall.get(overall, Histogram()).plus(new)

    def of(self, measure: Measure, test: TestKey, stream: Stream) -> Histogram:
        assert test.context is not None
        if test.site is None:
            return self._overall.get((measure, test.context, stream), Histogram())
        return self.by_total.get(TotalKey(measure, test.site, test.context, stream), Histogram())

"""From engines' counters to what each test says: takes what is new since the last look, and judges.

Only what engines measured for this try counts (I6): the state must speak of this revision and of this pattern. Certificates in Shadowing
rest on what was measured in shadow, afterwards on what was measured under reuse; detectors bet on both streams, half and half.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

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

Totals = dict[TotalKey, Histogram]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one guardrail says."""

    guardrail: Guardrail
    verdict: Verdict
    judgements: dict[TestKey, Judgement]
    """By test where it rolls back, and by the groups of its certificates (`context` or `site` None)."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What all guardrails say."""

    answers: tuple[Answer, ...] = ()
    shares: dict[int, float] = field(default_factory=dict)
    """Share of the judged traffic by bucket of context length."""

    @property
    def acting(self) -> tuple[Answer, ...]:
        """Those that may act."""
        return tuple(a for a in self.answers if a.guardrail.acts)

    def breach(self) -> tuple[Answer, TestKey] | None:
        """A guardrail that breached, and the test by which."""
        for answer in self.acting:
            for key, judgement in answer.judgements.items():
                if judgement.verdict is Verdict.BREACHED:
                    return answer, key
        return None

    def certified(self, *, without_quality: bool = False) -> bool:
        """Whether every acting guardrail is certified; in shadow quality can't be had."""
        return all(a.verdict is Verdict.CERTIFIED for a in self.acting if not (without_quality and a.guardrail.name == "quality"))


def begin(look: Look, memory: Memory | None) -> Memory:
    """The memory of this try, or an empty one."""
    status = look.o.status
    key = f"{status.revision}@{status.revision_started_at}/{question(look.o.spec) if look.o.spec else ''}"
    return memory if memory is not None and memory.key == key else Memory(key=key)


def observe(look: Look, memory: Memory) -> Memory:
    """Memory with what is new in this look."""
    spec, status = look.spec, look.o.status
    slot = int(look.since(status.revision_started_at).total_seconds()) + 1
    present = {p.name for p in look.o.pods}
    seen, batches = {key: h for key, h in memory.seen.items() if key.pod in present}, _Batches()
    for pod in look.o.pods:
        for key, histogram in _series(pod, spec, status.revision):
            last = memory.seen.get(key)
            if last == histogram:
                continue
            new = histogram if last is None else histogram.since(last)
            # A counter that fell without a new series number: count it from zero, as a new life.
            batches.add(key, histogram if new is None else new)
            seen[key] = histogram
    totals = dict(memory.totals)
    for total, batch in batches.by_total.items():
        totals[total] = totals.get(total, Histogram()).plus(batch)
    resuming = not memory.detectors
    detectors = dict(memory.detectors)
    for guardrail in guardrails(spec):
        if guardrail.measure is None or guardrail.threshold is None:
            continue
        for test in guardrail.tests:
            for stream in STREAMS:
                batch = batches.of(guardrail.measure, test, stream)
                if resuming:
                    detectors[test, stream] = detector.resumed(batch, guardrail.threshold, slot, guardrail.share)
                elif batch.count:
                    detectors[test, stream] = detectors[test, stream].after(batch, guardrail.threshold, slot, guardrail.share)
    data_at = look.now if any(b.count for b in batches.by_total.values()) else memory.data_at
    grown = replace(memory, seen=seen, totals=totals, detectors=detectors, data_at=data_at)
    return quality_view.observe(look, grown, slot)


def judge(look: Look, memory: Memory) -> Evidence:
    """What the guardrails say now."""
    spec, phase = look.spec, look.o.status.phase
    stream: Stream = Mode.SHADOW if phase in (Phase.PENDING, Phase.CHECKING, Phase.SHADOWING) else Mode.ON
    shares = contexts.shares(memory, JUDGED)
    answers = []
    for guardrail in guardrails(spec):
        if guardrail.measure is None:
            answers.append(_quality(guardrail, memory, spec))
        else:
            answers.append(_measured(guardrail, memory, spec, stream, shares))
    return Evidence(answers=tuple(answers), shares=shares)


def _measured(guardrail: Guardrail, memory: Memory, spec: Spec, stream: Stream, shares: dict[int, float]) -> Answer:
    assert guardrail.measure is not None
    log_e = {test: detector.log_e(_detectors(memory, test)) for test in guardrail.tests}
    carrying = [c for c in JUDGED if shares.get(c, 0.0) >= CARRIES]
    grouped: dict[TestKey, Histogram] = defaultdict(Histogram)
    for total, histogram in memory.totals.items():
        if total.measure == guardrail.measure and total.mode is stream and total.context in JUDGED:
            key = TestKey(guardrail.name, total.site if guardrail.by_site else None, None if guardrail.by_site else total.context)
            grouped[key] = grouped[key].plus(histogram)
    wanted = (
        {TestKey(guardrail.name, site, None) for site in {t.site for t in guardrail.tests}}
        if guardrail.by_site
        else {TestKey(guardrail.name, None, c) for c in carrying}
    )
    judgements: dict[TestKey, Judgement] = {}
    for key in sorted(wanted | {k for k, h in grouped.items() if h.count}, key=str):
        # The worst bet of the tests under this certificate: with sites, of its contexts.
        worst = max((e for test, e in log_e.items() if test.site == key.site and key.context in (None, test.context)), default=0.0)
        judgements[key] = verdict.judge(
            grouped[key],
            guardrail.threshold,
            log_e=worst,
            alpha=guardrail.alpha,
            beta=spec.confidence.bad_promotion,
            acts=guardrail.acts,
            share=guardrail.share,
        )
    # A breach counts wherever it is: in a bucket that carries little, in the other stream.
    for test, e in log_e.items():
        if guardrail.acts and verdict.breached(e, guardrail.alpha) and not any(j.log_e >= e for j in judgements.values()):
            judgements[test] = verdict.judge(
                Histogram(), guardrail.threshold, log_e=e, alpha=guardrail.alpha, beta=spec.confidence.bad_promotion, share=guardrail.share
            )
    deciding = [j.verdict for key, j in judgements.items() if key in wanted or j.verdict is Verdict.BREACHED]
    nothing = Verdict.NO_DATA if guardrail.acts else Verdict.OBSERVING
    return Answer(guardrail=guardrail, verdict=verdict.worst(deciding) if deciding else nothing, judgements=judgements)


def _quality(guardrail: Guardrail, memory: Memory, spec: Spec) -> Answer:
    judgement = verdict.judge(
        memory.quality or Histogram(),
        guardrail.threshold,
        log_e=memory.quality_detector.log_e if memory.quality_detector else 0.0,
        alpha=guardrail.alpha,
        beta=spec.confidence.bad_promotion,
        acts=guardrail.acts,
    )
    return Answer(guardrail=guardrail, verdict=judgement.verdict, judgements={guardrail.tests[0]: judgement})


def decisive(memory: Memory, guardrail: Guardrail, test: TestKey) -> tuple[TestKey, float | None]:
    """Of the tests under a judgement the one that holds most against the pattern, and the mean of what it saw."""
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
    """Whether an engine's measurements belong to this try."""
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

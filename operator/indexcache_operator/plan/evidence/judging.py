"""Says what each guardrail says now.

Certificates in Shadowing rest on what was measured in shadow, afterwards on what was measured under reuse;
detectors bet on both.
"""

from indexcache_core.contexts import JUDGED
from indexcache_core.contract import Mode
from indexcache_core.evidence import detector, verdict
from indexcache_core.evidence.detector import Detector
from indexcache_core.evidence.guardrails import STREAMS
from indexcache_core.evidence.verdict import Judgement, Verdict
from indexcache_core.histogram import Histogram

from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import Phase
from indexcache_operator.plan.evidence import contexts
from indexcache_operator.plan.facts.guardrails import CARRIES, Guardrail, guardrails
from indexcache_operator.plan.facts.memory import Memory, Stream, TestKey
from indexcache_operator.plan.facts.situation import Answer, Evidence, Situation


def judge(situation: Situation) -> Evidence:
    """Return what the guardrails say now."""
    spec, memory = situation.snapshot.spec, situation.memory
    unexposed = situation.status.phase in (Phase.PENDING, Phase.CHECKING, Phase.SHADOWING)
    stream: Stream = Mode.SHADOW if unexposed else Mode.ON
    shares = contexts.shares(memory, JUDGED)
    answers = tuple(
        _probed(guardrail, memory, spec)
        if guardrail.measure is None
        else _measured(guardrail, memory, spec, stream, shares)
        for guardrail in guardrails(spec)
    )
    return Evidence(answers=answers, shares=shares, unguarded=spec.guardrails.unguarded)


def _measured(
    guardrail: Guardrail, memory: Memory, spec: Spec, stream: Stream, shares: dict[int, float]
) -> Answer:
    log_e = {test: detector.log_e(_detectors(memory, test)) for test in guardrail.tests}
    wanted = _wanted(guardrail, shares)
    judgements = _certificates(guardrail, spec, wanted, _grouped(guardrail, memory, stream), log_e)
    judgements |= _hidden_breaches(guardrail, spec, judgements, log_e)
    deciding = [
        judgement.verdict
        for key, judgement in judgements.items()
        if key in wanted or judgement.verdict is Verdict.BREACHED
    ]
    nothing = Verdict.NO_DATA if guardrail.acts else Verdict.OBSERVING
    said = verdict.worst(deciding) if deciding else nothing
    return Answer(guardrail=guardrail, verdict=said, judgements=judgements)


def _grouped(guardrail: Guardrail, memory: Memory, stream: Stream) -> dict[TestKey, Histogram]:
    """Sum up all that was measured in a stream by the groups in which it is certified: an indexer, or a
    bucket of contexts.
    """
    grouped: dict[TestKey, Histogram] = {}
    for total, histogram in memory.totals.items():
        if total.measure != guardrail.measure or total.mode is not stream or total.context not in JUDGED:
            continue
        site, context = (total.site, None) if guardrail.by_site else (None, total.context)
        key = TestKey(guardrail.name, site, context)
        grouped[key] = grouped.get(key, Histogram()).plus(histogram)
    return grouped


def _wanted(guardrail: Guardrail, shares: dict[int, float]) -> set[TestKey]:
    """Return the certificates that are asked for: of each indexer, or of each bucket that carries enough of
    the traffic.
    """
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
    """Return a judgement of each group that is asked for or was measured, with the worst bet of the tests
    under it.
    """
    out = {}
    for key in sorted(wanted | {key for key, histogram in grouped.items() if histogram.count}, key=str):
        under = (
            e for test, e in log_e.items() if test.site == key.site and key.context in (None, test.context)
        )
        out[key] = _judgement(guardrail, spec, grouped.get(key, Histogram()), max(under, default=0.0))
    return out


def _hidden_breaches(
    guardrail: Guardrail, spec: Spec, shown: dict[TestKey, Judgement], log_e: dict[TestKey, float]
) -> dict[TestKey, Judgement]:
    """Return the breaches that no judgement shows: one counts wherever it is, in a bucket that carries
    little, in the other stream.
    """
    out: dict[TestKey, Judgement] = {}
    for test, e in log_e.items():
        if not guardrail.acts or not verdict.breached(e, guardrail.alpha):
            continue
        if not any(judgement.log_e >= e for judgement in (*shown.values(), *out.values())):
            out[test] = _judgement(guardrail, spec, Histogram(), e)
    return out


def _judgement(
    guardrail: Guardrail, spec: Spec, histogram: Histogram, log_e: float, *, binary: bool = False
) -> Judgement:
    return verdict.judge(
        histogram,
        guardrail.threshold,
        log_e=log_e,
        alpha=guardrail.alpha,
        beta=spec.confidence.bad_promotion,
        acts=guardrail.acts,
        share=guardrail.share,
        binary=binary,
    )


def _probed(guardrail: Guardrail, memory: Memory, spec: Spec) -> Answer:
    log_e = memory.quality_detector.log_e if memory.quality_detector else 0.0
    judgement = _judgement(guardrail, spec, memory.quality or Histogram(), log_e)
    if guardrail.name == "disasters":
        found = memory.probing.detector
        judgement = _judgement(
            guardrail, spec, memory.probing.kept, found.log_e if found else 0.0, binary=True
        )
    return Answer(guardrail=guardrail, verdict=judgement.verdict, judgements={guardrail.tests[0]: judgement})


def decisive(memory: Memory, guardrail: Guardrail, test: TestKey) -> tuple[TestKey, float | None]:
    """Find the test under a judgement that holds most against the pattern, and the mean of what it saw."""
    under = [t for t in guardrail.tests if t.site == test.site and test.context in (None, t.context)]
    found = max(under, key=lambda t: detector.log_e(_detectors(memory, t)), default=test)
    histogram = Histogram()
    for total, h in memory.totals.items():
        if (
            total.measure == guardrail.measure
            and total.context == found.context
            and found.site in (None, total.site)
        ):
            histogram = histogram.plus(h)
    return found, histogram.mean


def _detectors(memory: Memory, test: TestKey) -> list[Detector]:
    return [memory.detectors[test, s] for s in STREAMS if (test, s) in memory.detectors]

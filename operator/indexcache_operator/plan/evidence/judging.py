"""Says what each guardrail says now.

Certificates in Shadowing rest on what was measured in shadow, afterwards on what was measured under reuse;
detectors bet on both.
"""

from indexcache_core.contexts import JUDGED
from indexcache_core.contract import Mode, Work
from indexcache_core.evidence import detector, verdict
from indexcache_core.evidence.detector import Detector
from indexcache_core.evidence.guardrails import STREAMS
from indexcache_core.evidence.verdict import Judgement, Verdict
from indexcache_core.histogram import Histogram

from indexcache_operator.api.status import Phase
from indexcache_operator.plan.evidence import contexts, counters
from indexcache_operator.plan.facts.guardrails import CARRIES, Guardrail, guardrails
from indexcache_operator.plan.facts.memory import Memory, Stream, TestKey
from indexcache_operator.plan.facts.situation import Answer, Evidence, Situation


def judge(situation: Situation) -> Evidence:
    """Return what the guardrails say now."""
    spec, memory = situation.snapshot.spec, situation.memory
    unexposed = situation.status.phase in (Phase.PENDING, Phase.CHECKING, Phase.SHADOWING)
    stream: Stream = Mode.SHADOW if unexposed else Mode.ON
    carrying = frozenset(
        cell for cell, share in contexts.shares_of_work(situation).items() if share >= CARRIES
    )
    answers = tuple(
        _probed(guardrail, memory)
        if guardrail.measure is None
        else _measured(guardrail, memory, stream, carrying)
        for guardrail in guardrails(spec)
    )
    return Evidence(
        answers=answers,
        judged=contexts.weight(situation, JUDGED),
        carrying=carrying,
        unguarded=spec.guardrails.unguarded,
    )


def _measured(
    guardrail: Guardrail, memory: Memory, stream: Stream, carrying: frozenset[tuple[int, Work]]
) -> Answer:
    judgements = {}
    wanted = {test for test in guardrail.tests if (test.context, test.work) in carrying}
    for test in guardrail.tests:
        counted = _counted(guardrail, memory, test, stream)
        log_e = detector.log_e(_detectors(memory, test))
        # A breach counts wherever it is, in a bucket that carries little, in the other stream.
        if test in wanted or counted.count or (guardrail.acts and verdict.breached(log_e, guardrail.alpha)):
            judgements[test] = _judgement(guardrail, counted, log_e)
    deciding = [
        judgement.verdict
        for test, judgement in judgements.items()
        if test in wanted or judgement.verdict is Verdict.BREACHED
    ]
    nothing = Verdict.NO_DATA if guardrail.acts else Verdict.OBSERVING
    said = verdict.worst(deciding) if deciding else nothing
    return Answer(guardrail=guardrail, verdict=said, judgements=judgements)


def _counted(guardrail: Guardrail, memory: Memory, test: TestKey, stream: Stream) -> Histogram:
    """Return what a test counts in a stream, from the beginning of the try on."""
    assert guardrail.measure is not None
    total = counters.total_of(guardrail.measure, test, stream)
    return memory.totals.get(total, Histogram()) if total is not None else Histogram()


def _judgement(
    guardrail: Guardrail, histogram: Histogram, log_e: float, *, binary: bool = False
) -> Judgement:
    return verdict.judge(
        histogram,
        guardrail.threshold,
        log_e=log_e,
        alpha=guardrail.alpha,
        beta=guardrail.beta,
        acts=guardrail.acts,
        binary=binary,
    )


def _probed(guardrail: Guardrail, memory: Memory) -> Answer:
    binary = guardrail.name == "disasters"
    values, against = (
        (memory.probing.kept, memory.probing.detector)
        if binary
        else (memory.quality or Histogram(), memory.quality_detector)
    )
    judgement = _judgement(guardrail, values, against.log_e if against else 0.0, binary=binary)
    return Answer(guardrail=guardrail, verdict=judgement.verdict, judgements={guardrail.tests[0]: judgement})


def mean(memory: Memory, guardrail: Guardrail, test: TestKey) -> float | None:
    """Return the mean of all that a test saw, in both streams; None without any."""
    both = Histogram()
    for stream in STREAMS:
        both = both.plus(_counted(guardrail, memory, test, stream))
    return both.mean


def _detectors(memory: Memory, test: TestKey) -> list[Detector]:
    return [memory.detectors[test, s] for s in STREAMS if (test, s) in memory.detectors]

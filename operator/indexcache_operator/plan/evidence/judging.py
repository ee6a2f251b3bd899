"""Says what each guardrail says now.

What is shown in Shadowing, and the reach of a canary, rest on what was measured in shadow; all else on what
was measured under reuse. Detectors bet on both.
"""

from indexcache_core.contexts import JUDGED
from indexcache_core.contract import Mode, Work
from indexcache_core.evidence import verdict
from indexcache_core.evidence.verdict import Verdict
from indexcache_core.histogram import Histogram

from indexcache_operator.plan.evidence import certified_reach, contexts, judgements
from indexcache_operator.plan.evidence.judgements import Judgements
from indexcache_operator.plan.facts import reach
from indexcache_operator.plan.facts.guardrails import Guardrail, guardrails
from indexcache_operator.plan.facts.memory import Memory, Stream
from indexcache_operator.plan.facts.reach import Reaches
from indexcache_operator.plan.facts.situation import Answer, Evidence, Situation

Cells = frozenset[tuple[int, Work]]


def judge(situation: Situation) -> Evidence:
    """Return what the guardrails say now."""
    spec, memory = situation.snapshot.spec, situation.memory
    stream: Stream = Mode.SHADOW if situation.status.phase in reach.UNEXPOSED else Mode.ON
    asked, judged = guardrails(spec), Judgements(memory)
    found = certified_reach.reaches(situation, judged, asked)
    wanted = _wanted(situation, judged, asked, found, stream)
    answers = tuple(
        _probed(guardrail, memory)
        if guardrail.measure is None
        else _measured(situation, guardrail, judged, stream, wanted)
        for guardrail in asked
    )
    return Evidence(
        answers=answers,
        judged=contexts.weight(situation, JUDGED),
        reaches=found,
        wanted=wanted,
        unguarded=spec.guardrails.unguarded,
    )


def _wanted(
    situation: Situation,
    judged: Judgements,
    asked: tuple[Guardrail, ...],
    found: Reaches,
    stream: Stream,
) -> Cells:
    """Return whose certificates are needed to go on; once all pods are under reuse, of what they reach."""
    acting = [g for g in asked if g.acts and g.measure is not None]
    last, everywhere = found.needed(), situation.status.phase in reach.EVERYWHERE
    return frozenset(
        cell
        for bucket in JUDGED
        if bucket <= last and (not everywhere or reach.within(bucket, found.reuse, found.k))
        for cell in certified_reach.cells(situation, judged, acting, bucket, stream)
    )


def _measured(
    situation: Situation, guardrail: Guardrail, judged: Judgements, stream: Stream, wanted: Cells
) -> Answer:
    k, exposed = situation.snapshot.k, reach.granted(situation.status)
    shown, deciding = {}, []
    for test in guardrail.tests:
        is_wanted = (test.context, test.work) in wanted
        # A breach counts in the other stream too.
        breached = guardrail.acts and verdict.breached(judged.log_e(test), guardrail.alpha)
        if is_wanted or breached or judgements.counted(guardrail, judged.memory, test, stream).count:
            shown[test] = judged.of(guardrail, test, stream)
        if is_wanted or (breached and reach.within(test.context, exposed, k)):
            deciding.append(shown[test].verdict)
    nothing = Verdict.NO_DATA if guardrail.acts else Verdict.OBSERVING
    said = verdict.worst(deciding) if deciding else nothing
    return Answer(guardrail=guardrail, verdict=said, judgements=shown)


def _probed(guardrail: Guardrail, memory: Memory) -> Answer:
    binary = guardrail.name == "disasters"
    values, against = (
        (memory.probing.kept, memory.probing.detector)
        if binary
        else (memory.quality or Histogram(), memory.quality_detector)
    )
    log_e = against.log_e if against else 0.0
    found = judgements.judgement(guardrail, values, log_e, binary=binary)
    return Answer(guardrail=guardrail, verdict=found.verdict, judgements={guardrail.tests[0]: found})

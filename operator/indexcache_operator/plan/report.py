"""What people read: evidence, printer columns, live figures. Written when something happened, and while something runs after each EVERY.

A steady state yields the same status look after look, so that nothing is written.
"""

import math
from dataclasses import replace
from datetime import timedelta

from indexcache_core.contract import context_label
from indexcache_core.evidence.guardrails import IN_RESOURCE
from indexcache_core.evidence.traffic import Reached
from indexcache_core.evidence.verdict import Judgement, Verdict, worst

from indexcache_operator.api.status import EvidenceStatus, Phase, Status, TrafficStatus
from indexcache_operator.plan import quality_view
from indexcache_operator.plan.memory import Memory, TestKey
from indexcache_operator.plan.quality_view import site_k
from indexcache_operator.plan.situation import Answer, Situation

EVERY = timedelta(seconds=10)
EVERY_WHEN_PROMOTED = timedelta(minutes=10)
CONTRADICTED = timedelta(seconds=10)
MOST_E = 1e12
"""What is shown of wealth beyond all need."""


def publish(situation: Situation, before: Status, measured: bool) -> tuple[Status, Memory]:
    """Return the status with what people read, and the memory of when.

    `before` is the status as it was read; `measured`, whether this look took up evidence.
    """
    if not measured:
        return _worded(situation), situation.memory
    moved = _place(situation.status) != _place(before)
    if not (moved or _due(situation)):
        return _as_before(situation, before), situation.memory
    status = _worded(replace(situation, status=_with_figures(situation, moved)))
    remembered = replace(situation.memory, published_at=situation.look.now, published=_verdicts(situation))
    return status, remembered


def _place(status: Status) -> tuple[object, ...]:
    """Return where a try stands: a move is written at once."""
    return (status.phase, status.step and status.step.index, status.revision)


def _verdicts(situation: Situation) -> tuple[tuple[str, str], ...]:
    return tuple((a.guardrail.name, a.verdict.value) for a in situation.evidence.answers)


def _due(situation: Situation) -> bool:
    """Return whether figures are written again: after a while, and where a verdict turned, but in Promoted after a while alone."""
    promoted, memory = situation.status.phase is Phase.PROMOTED, situation.memory
    every = EVERY_WHEN_PROMOTED if promoted else EVERY
    if memory.published_at is None or situation.look.since(memory.published_at) >= every:
        return True
    return not promoted and _verdicts(situation) != memory.published


def _as_before(situation: Situation, before: Status) -> Status:
    """Return the status with the figures that are in it already."""
    step = situation.status.step
    if step is not None and before.step is not None:
        seen, needed = before.step.requests_seen, before.step.requests_needed
        step = replace(step, requests_seen=seen, requests_needed=needed)
    status = replace(
        situation.status,
        step=step,
        evidence=before.evidence,
        recall=before.recall,
        verdict=before.verdict,
        reason=before.reason,
        step_summary=before.step_summary,
        requests_seen=before.requests_seen,
        quality=before.quality,
    )
    if status.phase is not Phase.PROMOTING:
        return status
    return replace(status, reason=_reason(situation))


def _with_figures(situation: Situation, moved: bool) -> Status:
    """Return the status with the figures of this look; a phase or step that begins counts its requests from nothing."""
    status, memory = situation.status, situation.memory
    step = status.step
    if step is not None:
        step = replace(step, requests_seen=memory.requests_seen, requests_needed=_needed(situation))
    return replace(
        status,
        evidence=evidence_rows(situation),
        step=step,
        requests_seen=memory.requests_seen if not moved else 0,
        recall=_recall(situation),
        verdict=worst([a.verdict for a in situation.evidence.answers]).value,
        quality=quality_view.stored(status.revision, memory),
    )


def _worded(situation: Situation) -> Status:
    """Return the status with what the printer columns say in words."""
    return replace(situation.status, reason=_reason(situation), step_summary=_step(situation))


def evidence_rows(situation: Situation) -> tuple[EvidenceStatus, ...]:
    """Return one row for each certificate, of the indexers only the weakest: sixty rows are no status."""
    rows = []
    for answer in situation.evidence.answers:
        kept = list(answer.judgements.items())
        if answer.guardrail.by_site and kept:
            kept = [min(kept, key=lambda item: (_rank(item[1]), -item[1].log_e, item[1].lower_bound or 0.0))]
        rows += [_row(situation, answer, key, judgement) for key, judgement in kept]
    return tuple(rows)


def _rank(judgement: Judgement) -> int:
    return list(Verdict).index(judgement.verdict)


def _row(situation: Situation, answer: Answer, key: TestKey, j: Judgement) -> EvidenceStatus:
    k = site_k(situation.look)
    return EvidenceStatus(
        guardrail=IN_RESOURCE[answer.guardrail.name],
        contexts=context_label(key.context, k) if key.context is not None and k else "",
        indexer=key.site,
        verdict=j.verdict,
        mean=None if j.mean is None else round(j.mean, 4),
        lower_bound=None if j.lower_bound is None else round(j.lower_bound, 4),
        threshold=answer.guardrail.threshold,
        samples=round(j.samples),
        e_value=round(min(math.exp(min(j.log_e, 50.0)), MOST_E), 4),
        alpha=answer.guardrail.alpha,
    )


def _needed(situation: Situation) -> int | None:
    """Return how many observations the slowest certificate still wants; None if one can't be estimated."""
    wanted = [j.needed for a in situation.evidence.acting for j in a.judgements.values() if j.verdict is not Verdict.CERTIFIED]
    known = [n for n in wanted if n is not None]
    return None if len(known) < len(wanted) else max(known, default=0)


def _recall(situation: Situation) -> str:
    answer = next((a for a in situation.evidence.answers if a.guardrail.name == "recall"), None)
    bounds = [j.lower_bound for j in answer.judgements.values() if j.lower_bound is not None] if answer else []
    return f"{min(bounds):.2f}" if bounds else ""


def _step(situation: Situation) -> str:
    spec, step = situation.look.o.spec, situation.status.step
    if spec is None:
        return ""
    total = len(spec.strategy.steps)
    if step is not None:
        return f"{step.index + 1}/{total}"
    return f"{total}/{total}" if situation.status.phase in (Phase.PROMOTING, Phase.PROMOTED) else f"0/{total}"


def _reason(situation: Situation) -> str:
    status, spec = situation.status, situation.look.o.spec
    if status.phase in (Phase.FALLING_BACK, Phase.FELL_BACK) and status.fallback:
        return status.fallback.cause
    if status.phase is Phase.PROMOTED:
        return "Certified"
    if spec is not None and spec.paused and status.phase in (Phase.SHADOWING, Phase.CANARY):
        return "paused"
    if status.phase not in (Phase.SHADOWING, Phase.CANARY) or spec is None:
        return status.message if len(status.message) <= 80 else status.message[:77] + "..."
    missing = spec.strategy.shadow.min_requests - situation.memory.requests_seen
    if status.phase is Phase.SHADOWING and missing > 0:
        return f"{missing} more requests needed"
    if status.step is not None and status.step.reached_at is None:
        return f"weight {status.step.weight} not seen yet"
    for answer in situation.evidence.acting:
        if answer.verdict is Verdict.NO_DATA and not (status.phase is Phase.SHADOWING and answer.guardrail.name == "quality"):
            return f"no data on {IN_RESOURCE[answer.guardrail.name]}"
    needed = _needed(situation)
    if needed is None:
        return "more evidence needed"
    return f"{needed} more observations needed" if needed else "certified"


def traffic(situation: Situation) -> tuple[TrafficStatus, Memory]:
    """Return the traffic with what the counters show; the verified generation stays once it was seen.

    What contradicts the weight is written when it begins, and then after each CONTRADICTED: it comes with every few requests.
    """
    status, route, memory = situation.status, situation.look.o.route, situation.memory
    now = status.traffic
    if status.route is None or route is None or now.desired != situation.look.o.status.traffic.desired:
        return now, memory
    if situation.seen.reached is Reached.YES and now.verified_generation != route.generation:
        return replace(now, observed=now.desired, verified_generation=route.generation), memory
    begins = now.verified_generation is not None or memory.contradicted_at is None
    due = begins or situation.look.since(memory.contradicted_at) >= CONTRADICTED
    if situation.seen.reached is Reached.NO and due:
        memory = replace(memory, contradicted_at=situation.look.now)
        return replace(now, observed=situation.seen.percent, verified_generation=None), memory
    return now, memory

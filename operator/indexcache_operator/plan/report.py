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
from indexcache_operator.plan.context import Context
from indexcache_operator.plan.evidence_view import Answer
from indexcache_operator.plan.memory import Memory, TestKey
from indexcache_operator.plan.quality_view import site_k

EVERY = timedelta(seconds=10)
EVERY_WHEN_PROMOTED = timedelta(minutes=10)
CONTRADICTED = timedelta(seconds=10)
MOST_E = 1e12
"""What is shown of wealth beyond all need."""


def publish(c: Context, before: Status, measured: bool) -> tuple[Status, Memory]:
    """The status with what people read, and the memory of when."""
    status, memory = c.status, c.memory
    if not measured:
        status = replace(status, reason=_reason(c), step_summary=_step(c))
        return status, memory
    verdicts = tuple((a.guardrail.name, a.verdict.value) for a in c.evidence.answers)
    moved = (status.phase, status.step and status.step.index, status.revision) != (
        before.phase,
        before.step and before.step.index,
        before.revision,
    )
    turned = verdicts != memory.published
    every = EVERY_WHEN_PROMOTED if status.phase is Phase.PROMOTED else EVERY
    due = memory.published_at is None or c.look.since(memory.published_at) >= every
    if not (moved or due or (turned and status.phase is not Phase.PROMOTED)):
        step = status.step
        if step is not None and before.step is not None:
            step = replace(step, requests_seen=before.step.requests_seen, requests_needed=before.step.requests_needed)
        live = ("evidence", "recall", "verdict", "reason", "step_summary", "requests_seen", "quality")
        status = replace(status, step=step, **{name: getattr(before, name) for name in live})
        return (status if status.phase is not Phase.PROMOTING else replace(status, reason=_reason(c))), memory
    needed = _needed(c)
    step = status.step and replace(status.step, requests_seen=memory.requests_seen, requests_needed=needed)
    status = replace(
        status,
        evidence=evidence_rows(c),
        step=step,
        requests_seen=memory.requests_seen if not moved else 0,
        recall=_recall(c),
        verdict=worst([a.verdict for a in c.evidence.answers]).value,
        quality=quality_view.stored(status.revision, memory),
    )
    shown = replace(c, status=status)
    status = replace(status, reason=_reason(shown), step_summary=_step(shown))
    return status, replace(memory, published_at=c.look.now, published=verdicts)


def evidence_rows(c: Context) -> tuple[EvidenceStatus, ...]:
    """One row a certificate, of the indexers only the weakest: sixty rows are no status."""
    rows = []
    for answer in c.evidence.answers:
        kept = list(answer.judgements.items())
        if answer.guardrail.by_site and kept:
            kept = [min(kept, key=lambda item: (_rank(item[1]), -item[1].log_e, item[1].lower_bound or 0.0))]
        rows += [_row(c, answer, key, judgement) for key, judgement in kept]
    return tuple(rows)


def _rank(judgement: Judgement) -> int:
    return list(Verdict).index(judgement.verdict)


def _row(c: Context, answer: Answer, key: TestKey, j: Judgement) -> EvidenceStatus:
    k = site_k(c.look)
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


def _needed(c: Context) -> int | None:
    """Observations that the slowest certificate still wants; None if one can't be estimated."""
    wanted = [j.needed for a in c.evidence.acting for j in a.judgements.values() if j.verdict is not Verdict.CERTIFIED]
    known = [n for n in wanted if n is not None]
    return None if len(known) < len(wanted) else max(known, default=0)


def _recall(c: Context) -> str:
    answer = next((a for a in c.evidence.answers if a.guardrail.name == "recall"), None)
    bounds = [j.lower_bound for j in answer.judgements.values() if j.lower_bound is not None] if answer else []
    return f"{min(bounds):.2f}" if bounds else ""


def _step(c: Context) -> str:
    spec, step = c.look.o.spec, c.status.step
    if spec is None:
        return ""
    total = len(spec.strategy.steps)
    if step is not None:
        return f"{step.index + 1}/{total}"
    return f"{total}/{total}" if c.status.phase in (Phase.PROMOTING, Phase.PROMOTED) else f"0/{total}"


def _reason(c: Context) -> str:
    status, spec = c.status, c.look.o.spec
    if status.phase in (Phase.FALLING_BACK, Phase.FELL_BACK) and status.fallback:
        return status.fallback.cause
    if status.phase is Phase.PROMOTED:
        return "Certified"
    if spec is not None and spec.paused and status.phase in (Phase.SHADOWING, Phase.CANARY):
        return "paused"
    if status.phase not in (Phase.SHADOWING, Phase.CANARY) or spec is None:
        return status.message if len(status.message) <= 80 else status.message[:77] + "..."
    missing = spec.strategy.shadow.min_requests - c.memory.requests_seen
    if status.phase is Phase.SHADOWING and missing > 0:
        return f"{missing} more requests needed"
    if status.step is not None and status.step.reached_at is None:
        return f"weight {status.step.weight} not seen yet"
    for answer in c.evidence.acting:
        if answer.verdict is Verdict.NO_DATA and not (status.phase is Phase.SHADOWING and answer.guardrail.name == "quality"):
            return f"no data on {IN_RESOURCE[answer.guardrail.name]}"
    needed = _needed(c)
    if needed is None:
        return "more evidence needed"
    return f"{needed} more observations needed" if needed else "certified"


def traffic(c: Context) -> tuple[TrafficStatus, Memory]:
    """The traffic with what the counters show; the verified generation stays once it was seen.

    What contradicts the weight is written when it begins, and then after each CONTRADICTED: it comes with every few requests.
    """
    status, route, memory = c.status, c.look.o.route, c.memory
    now = status.traffic
    if status.route is None or route is None or now.desired != c.look.o.status.traffic.desired:
        return now, memory
    if c.seen.reached is Reached.YES and now.verified_generation != route.generation:
        return replace(now, observed=now.desired, verified_generation=route.generation), memory
    begins = now.verified_generation is not None or memory.contradicted_at is None
    due = begins or c.look.since(memory.contradicted_at) >= CONTRADICTED
    if c.seen.reached is Reached.NO and due:
        memory = replace(memory, contradicted_at=c.look.now)
        return replace(now, observed=c.seen.percent, verified_generation=None), memory
    return now, memory

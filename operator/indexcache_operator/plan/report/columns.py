"""Writes what the printer columns say in words."""

from indexcache_core.evidence.guardrails import IN_RESOURCE, PROBED
from indexcache_core.evidence.verdict import Verdict

from indexcache_operator.api.status import Phase
from indexcache_operator.plan.facts.guardrails import certainty
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.report import figures


def step(situation: Situation) -> str:
    spec, now = situation.snapshot.observation.spec, situation.status.step
    if spec is None:
        return ""
    total = len(spec.strategy.steps)
    if now is not None:
        return f"{now.index + 1}/{total}"
    return f"{total}/{total}" if situation.status.phase in (Phase.PROMOTING, Phase.PROMOTED) else f"0/{total}"


def reason(situation: Situation) -> str:
    status, spec = situation.status, situation.snapshot.observation.spec
    if status.phase in (Phase.FALLING_BACK, Phase.FELL_BACK) and status.fallback:
        return status.fallback.cause
    if status.phase is Phase.PROMOTED:
        return certainty(spec) if spec is not None else status.phase.value
    if situation.snapshot.paused and status.phase in (Phase.SHADOWING, Phase.CANARY):
        return "paused"
    if status.phase not in (Phase.SHADOWING, Phase.CANARY) or spec is None:
        return status.message if len(status.message) <= 80 else status.message[:77] + "..."
    missing = spec.strategy.shadow.min_requests - situation.memory.requests_seen
    if status.phase is Phase.SHADOWING and missing > 0:
        return f"{missing} more requests needed"
    if status.step is not None and status.step.reached_at is None:
        return f"weight {status.step.weight} not seen yet"
    for answer in situation.evidence.acting:
        if answer.verdict is Verdict.NO_DATA and not (
            status.phase is Phase.SHADOWING and answer.guardrail.name in PROBED
        ):
            return f"no data on {IN_RESOURCE[answer.guardrail.name]}"
    wanted = figures.needed(situation)
    if wanted is None:
        return "more evidence needed"
    return f"{wanted} more observations needed" if wanted else "certified"

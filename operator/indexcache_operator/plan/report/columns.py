"""Writes what the printer columns say in words."""

from indexcache_operator.api.status import Phase
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts.guardrails import certainty
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.report import silence
from indexcache_operator.plan.waits.common import trouble

LONGEST = 80
UNDER_WAY = (Phase.SHADOWING, Phase.CANARY)


def step(situation: Situation) -> str:
    spec, now = situation.snapshot.observation.spec, situation.status.step
    if spec is None:
        return ""
    total = len(spec.strategy.steps)
    if now is not None:
        return f"{now.index + 1}/{total}"
    return f"{total}/{total}" if situation.status.phase in (Phase.PROMOTING, Phase.PROMOTED) else f"0/{total}"


def reason(situation: Situation) -> str:
    """Return why the rollout is where it is: how it ended, or what it waits for."""
    status, spec = situation.status, situation.snapshot.observation.spec
    if status.phase in (Phase.FALLING_BACK, Phase.FELL_BACK) and status.fallback:
        return status.fallback.cause
    if status.phase is Phase.PROMOTED:
        said = silent(situation)
        return _short(said or (certainty(spec) if spec is not None else status.phase.value))
    if status.phase in UNDER_WAY and spec is not None:
        return _short(status.waiting.message if status.waiting else "nothing is waited for")
    return _short(status.message)


def silent(situation: Situation) -> str:
    """Return in words which pods don't serve or can't be asked; empty where all do."""
    told = (pod for pod in situation.snapshot.pods if not silence.untold(situation, pod))
    return "; ".join(filter(None, map(trouble, told)))


def reuse(situation: Situation) -> int:
    """Return the percent of the rollout's traffic that meets reuse: by the route's weight, and by how many of
    the pods behind each Service run it.
    """
    snapshot, status = situation.snapshot, situation.status
    weight = status.traffic.desired if status.route is not None else 0
    baseline = _reusing(situation, [p for p in snapshot.ready if p.baseline_label])
    canary = _reusing(situation, [p for p in snapshot.ready if p.canary_label])
    return round(weight * canary + (100 - weight) * baseline)


def _reusing(situation: Situation, pods: list[EnginePod]) -> float:
    on = sum(silence.is_on(situation, p) for p in pods)
    return on / len(pods) if pods else 0.0


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."

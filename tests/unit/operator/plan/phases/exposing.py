"""Builds situations within a step of the canary."""

from typing import Any

from indexcache_core.evidence.freshness import OWN
from indexcache_core.evidence.traffic import Reached
from indexcache_core.evidence.verdict import Verdict
from indexcache_operator.api.status import StepStatus, TrafficStatus
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Seen, Situation
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT

from tests.unit.operator.plan.build import (
    KEPT,
    MOVED,
    WITH_CANARY,
    at,
    evidence,
    measured,
    pod,
    situation,
    status,
    told,
)

TIMED = {
    "shadow": {"minRequests": 20, "timeout": "60s"},
    "steps": [{"weight": 20, "minDuration": "30s"}, {"weight": 50}],
    "progressDeadline": "120s",
}
A = frozenset({("a", "life")})


def exposing(
    *pods: EnginePod,
    drained: frozenset[tuple[str, str]] = A,
    reached: Reached = Reached.YES,
    verdict: Verdict = Verdict.CERTIFIED,
    own: int = OWN,
    traffic: TrafficStatus | None = None,
    step: StepStatus | None = None,
    routed: bool = True,
    **changes: Any,
) -> Situation:
    """Return the first step with its one pod exposed and its weight in the route, but for what a test
    says."""
    pods = pods or (pod("a", **MOVED), pod("b"), pod("c"))
    kept = status(
        canary_pods=("a",),
        route=KEPT if routed else None,
        step=step or StepStatus(index=0, weight=20, started_at=at(-60), reached_at=at(-30)),
        traffic=traffic or TrafficStatus(desired=20),
        requests_seen=9,
    )
    changes = {"route": WITH_CANARY, **changes}
    seen = measured(told({"a": ON_CANARY_PERMIT}, *pods, status=kept, **changes), own)
    return situation(
        *seen.observation.pods,
        status=seen.observation.status,
        memory=Memory(key="try", drained_pods=drained),
        evidence=evidence(verdict),
        seen=Seen(reached=reached),
        **changes,
    )


HOLDING = Verdict.HOLDING

"""Says what the status says of the traffic that was seen."""

from dataclasses import replace
from datetime import timedelta

from indexcache_core.evidence.traffic import Reached

from indexcache_operator.api.status import TrafficStatus
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Situation

CONTRADICTED = timedelta(seconds=10)


def traffic(situation: Situation) -> tuple[TrafficStatus, Memory]:
    """Return the traffic with what the counters show; the verified generation stays once it was seen.

    What contradicts the weight is written when it begins, and then after each CONTRADICTED: it comes with
    every few requests.
    """
    status, route, memory = situation.status, situation.snapshot.observation.route, situation.memory
    now = status.traffic
    if (
        status.route is None
        or route is None
        or now.desired != situation.snapshot.observation.status.traffic.desired
    ):
        return now, memory
    if situation.seen.reached is Reached.YES and now.verified_generation != route.generation:
        return replace(now, observed=now.desired, verified_generation=route.generation), memory
    begins = now.verified_generation is not None or memory.contradicted_at is None
    due = begins or situation.snapshot.since(memory.contradicted_at) >= CONTRADICTED
    if situation.seen.reached is Reached.NO and due:
        memory = replace(memory, contradicted_at=situation.snapshot.now)
        return replace(now, observed=situation.seen.percent, verified_generation=None), memory
    return now, memory

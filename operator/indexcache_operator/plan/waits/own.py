"""Tells which observations of its own a step waits for: one of each pod that it exposes, and OWN in each
judged length of context that it rests on. What was certified before says nothing of what is measured now.
"""

import math
from collections.abc import Mapping

from indexcache_core.contexts import context_label
from indexcache_core.evidence.freshness import MEASURED_SHARE, OWN

from indexcache_operator.api.status import Origin, StepStatus, WaitStatus
from indexcache_operator.plan.facts import measuring
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.waits import rates

SHOULD = math.ceil(1 / MEASURED_SHARE)
"""Requests of which one at least should have been measured."""


def waiting(situation: Situation, step: StepStatus) -> WaitStatus | None:
    """Return what the step waits for; None where it has its own observations, and where no guardrail on what
    engines measure acts.
    """
    if not situation.evidence.measured:
        return None
    snapshot, status = situation.snapshot, situation.status
    own = measuring.own(snapshot, status)
    unseen = [name for name in status.canary_pods if not sum(own.get(name, ()))]
    came = dict(measuring.unmeasured(snapshot, status))
    dead = {name: came[name] for name in unseen if came.get(name, 0) >= SHOULD}
    if dead:
        return _dead(situation, dead)
    if unseen:
        message = f"no observation of this step's own yet of {', '.join(unseen)}"
        return _few(situation, step, message, len(unseen))
    lacking = {bucket: OWN - n for bucket, n in _by_bucket(situation, own).items() if n < OWN}
    if not lacking:
        return None
    bucket, missing = max(lacking.items(), key=lambda each: each[1])
    where = f" at {context_label(bucket, snapshot.k)} tokens" if snapshot.k else ""
    return _few(situation, step, f"{missing} more observations of this step's own{where}", missing)


def _by_bucket(situation: Situation, own: Mapping[str, tuple[int, ...]]) -> dict[int, int]:
    """Return the step's own observations in each bucket whose certificates are needed."""
    return {
        bucket: sum(own[name][bucket] for name in situation.status.canary_pods if name in own)
        for bucket, _ in situation.evidence.wanted
    }


def _dead(situation: Situation, came: Mapping[str, int]) -> WaitStatus:
    return WaitStatus(
        origin=Origin.PLATFORM,
        reason="NothingMeasured",
        message=f"no observation of this step's own of {', '.join(came)}, though {min(came.values())} "
        "requests under reuse came there that are long enough",
        observations=0,
        requests_per_minute=rates.requests_per_minute(situation),
        way_out="look at these pods' logs for why they don't measure, or delete them",
    )


def _few(situation: Situation, step: StepStatus, message: str, missing: int) -> WaitStatus:
    within = situation.snapshot.spec.strategy.progress_deadline
    needed = rates.rate_for(missing, within, per_minute=None, requests=None, weight=step.weight)
    return WaitStatus(
        origin=Origin.TRAFFIC,
        reason="OwnObservations",
        message=message,
        observations_needed=missing,
        requests_per_minute=rates.requests_per_minute(situation),
        requests_per_minute_needed=needed,
        way_out="nothing need be done: they come with the requests under reuse",
    )

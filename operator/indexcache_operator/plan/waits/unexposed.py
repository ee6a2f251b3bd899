"""Tells what is waited for in shadow, for as long as it takes: nobody is exposed there."""

from datetime import timedelta

from indexcache_operator.api import times
from indexcache_operator.api.status import HoldStatus, Origin, WaitStatus
from indexcache_operator.plan.facts import measuring
from indexcache_operator.plan.facts.revision import RETRY
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.waits import certificates, rates, words
from indexcache_operator.plan.waits.common import paused

STEADY = timedelta(minutes=5)
"""For so long the traffic that was missing must have been there."""


def waiting(situation: Situation) -> WaitStatus | None:
    """Return what is waited for; None where the canary may begin."""
    return paused(situation) or held(situation) or certificates.waiting(situation) or _requests(situation)


def _requests(situation: Situation) -> WaitStatus | None:
    least = situation.snapshot.spec.strategy.shadow.min_requests
    missing = least - situation.memory.requests_seen
    if missing <= 0:
        return None
    rate = rates.requests_per_minute(situation)
    left = rates.minutes(missing, rate)
    return WaitStatus(
        origin=Origin.TRAFFIC,
        reason="RequestsWanted",
        message=f"{missing} more requests" + (f", about {words.about(left)}" if left else ""),
        requests_per_minute=rate,
        expected=words.about(left) if left else "",
        way_out="nothing need be done; a lower spec.strategy.shadow.minRequests needs fewer",
    )


def held(situation: Situation) -> WaitStatus | None:
    """Return what keeps a try that was held from being exposed again; None where nothing does, or it never
    was held.
    """
    hold, seen = situation.status.hold, situation.snapshot.observation
    if hold is None or hold.generation != seen.generation or _asked(situation, hold):
        return None
    if seen.now < hold.not_before:
        return _held(situation, hold, f"pauses until {times.stamp(hold.not_before)}")
    unseen = measuring.unseen(situation.snapshot, situation.status)
    if hold.cause == "MeasuringStopped" and unseen:
        return _held(situation, hold, f"{', '.join(unseen)} measured nothing since")
    wanted = hold.requests_per_minute_needed
    if wanted is None:
        return None
    pace, rate = situation.memory.pace, rates.requests_per_minute(situation)
    if pace is None or rate is None or pace.lasted < STEADY:
        return _held(situation, hold, f"the traffic is watched for {times.text(STEADY)}")
    if rate < wanted:
        return _held(situation, hold, f"{rate:g} requests a minute, {wanted:g} needed")
    return None


def _asked(situation: Situation, hold: HoldStatus) -> bool:
    value = situation.snapshot.observation.annotations.get(RETRY, "")
    return value.split("/")[0] == situation.status.revision and value != hold.retried


def _held(situation: Situation, hold: HoldStatus, message: str) -> WaitStatus:
    return WaitStatus(
        origin=hold.origin,
        reason=hold.cause,
        message=f"{hold.cause}: {message}",
        requests_per_minute=rates.requests_per_minute(situation),
        requests_per_minute_needed=hold.requests_per_minute_needed,
        way_out=f"an edit of the spec, or another value of annotation {RETRY}, exposes it at once",
    )

"""Says how a phase begins, and what is written down where a try ends."""

from dataclasses import replace

from indexcache_operator.api.status import (
    FallbackStatus,
    HistoryEntry,
    Outcome,
    Phase,
    Rejected,
    Status,
    TrafficStatus,
)
from indexcache_operator.plan.facts.revision import RETRY
from indexcache_operator.plan.facts.situation import Situation

HISTORY = 10
NOT_THE_PATTERNS_FAULT = frozenset(
    {"Superseded", "RouteChanged", "RouteTaken", "InvalidSpec", "Deleted", "Restored", "CheckpointReplaced"}
)
"""Causes of a fallback for which the revision isn't rejected."""


def enter(situation: Situation, phase: Phase, message: str) -> Status:
    """Return the status at the beginning of a phase."""
    return replace(
        situation.status,
        phase=phase,
        phase_started_at=situation.snapshot.now,
        requests_seen=0,
        message=message,
    )


def fall_back(situation: Situation, cause: str, message: str) -> Status:
    """Return the status with the intent to fall back. An intent that is there already stays: the first cause
    counts.
    """
    snapshot, status = situation.snapshot, situation.status
    intent = status.fallback
    if intent is None or intent.revision != status.revision:
        intent = FallbackStatus(cause=cause, message=message, since=snapshot.now, revision=status.revision)
    if status.phase is Phase.FALLING_BACK:
        return replace(status, fallback=intent)
    message = f"{intent.cause}: {intent.message}" if intent.message else intent.cause
    falling = enter(situation, Phase.FALLING_BACK, message)
    return replace(falling, fallback=intent, step=None, traffic=weighted(status.traffic, 0))


def weighted(traffic: TrafficStatus, percent: int) -> TrafficStatus:
    """Return the traffic with another weight wanted. What the counters must refute is the nearest of what it
    may have been.
    """
    if traffic.desired == percent:
        return traffic
    possible = (
        {traffic.desired} if traffic.verified_generation is not None else {traffic.desired, traffic.previous}
    )
    return TrafficStatus(
        desired=percent, previous=min(possible - {percent}, key=lambda before: abs(before - percent))
    )


def remember(situation: Situation, outcome: Outcome, reason: str) -> tuple[HistoryEntry, ...]:
    """Return the history with how this try ended."""
    snapshot, status = situation.snapshot, situation.status
    pattern = (
        snapshot.observation.spec.index_cache.pattern
        if snapshot.observation.spec and snapshot.wanted_revision == status.revision
        else ""
    )
    entry = HistoryEntry(
        revision=status.revision, pattern=pattern, outcome=outcome, reason=reason, at=snapshot.now
    )
    return (*status.history, entry)[-HISTORY:]


def reject(situation: Situation, intent: FallbackStatus) -> tuple[Rejected, ...]:
    """Return the rejected revisions with this one."""
    snapshot, status = situation.snapshot, situation.status
    entry = Rejected(
        revision=status.revision,
        reason=intent.cause,
        message=intent.message,
        at=snapshot.now,
        retried=snapshot.observation.annotations.get(RETRY, ""),
    )
    return (*(r for r in status.rejected if r.revision != status.revision), entry)

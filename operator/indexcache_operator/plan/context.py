"""What a phase decides by, and how it says that another begins."""

from dataclasses import dataclass, replace

from indexcache_operator.api.status import (
    FallbackStatus,
    HistoryEntry,
    Outcome,
    Phase,
    Rejected,
    Status,
    TrafficStatus,
)
from indexcache_operator.plan.evidence_view import Evidence
from indexcache_operator.plan.look import Look
from indexcache_operator.plan.memory import Memory
from indexcache_operator.plan.revision import RETRY
from indexcache_operator.plan.traffic_view import Seen

HISTORY = 10
NOT_THE_PATTERNS_FAULT = frozenset({"Superseded", "RouteChanged", "InvalidSpec", "Deleted"})
"""Causes of a fallback for which the revision isn't rejected."""


@dataclass(frozen=True)
class Context:
    """One look, the status so far, and what was made of the counters."""

    look: Look
    status: Status
    memory: Memory
    evidence: Evidence
    seen: Seen


def enter(look: Look, status: Status, phase: Phase, message: str) -> Status:
    """The status at the beginning of a phase."""
    return replace(status, phase=phase, phase_started_at=look.now, requests_seen=0, message=message)


def fall_back(look: Look, status: Status, cause: str, message: str) -> Status:
    """The status with the intent to fall back. An intent that is there already stays: the first cause counts."""
    intent = status.fallback
    if intent is None or intent.revision != status.revision:
        intent = FallbackStatus(cause=cause, message=message, since=look.now, revision=status.revision)
    if status.phase is Phase.FALLING_BACK:
        return replace(status, fallback=intent)
    message = f"{intent.cause}: {intent.message}" if intent.message else intent.cause
    falling = enter(look, status, Phase.FALLING_BACK, message)
    return replace(falling, fallback=intent, step=None, traffic=weighted(status.traffic, 0))


def weighted(traffic: TrafficStatus, percent: int) -> TrafficStatus:
    """Traffic with another weight wanted. What the counters must refute is the nearest of what it may have been."""
    if traffic.desired == percent:
        return traffic
    possible = {traffic.desired} if traffic.verified_generation is not None else {traffic.desired, traffic.previous}
    return TrafficStatus(desired=percent, previous=min(possible - {percent}, key=lambda before: abs(before - percent)))


def remember(look: Look, status: Status, outcome: Outcome, reason: str) -> tuple[HistoryEntry, ...]:
    """The history with how this try ended."""
    pattern = look.o.spec.index_cache.pattern if look.o.spec and look.wanted_revision == status.revision else ""
    entry = HistoryEntry(revision=status.revision, pattern=pattern, outcome=outcome, reason=reason, at=look.now)
    return (*status.history, entry)[-HISTORY:]


def reject(look: Look, status: Status, intent: FallbackStatus) -> tuple[Rejected, ...]:
    """The rejected revisions with this one."""
    entry = Rejected(
        revision=status.revision,
        reason=intent.cause,
        message=intent.message,
        at=look.now,
        retried=look.o.annotations.get(RETRY, ""),
    )
    return (*(r for r in status.rejected if r.revision != status.revision), entry)

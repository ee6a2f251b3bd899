"""Says how a phase begins, and what is written down where a try ends."""

from dataclasses import replace
from datetime import timedelta

from indexcache_operator.api.status import (
    FallbackStatus,
    HistoryEntry,
    HoldStatus,
    Origin,
    Outcome,
    Phase,
    Rejected,
    Status,
    TrafficStatus,
)
from indexcache_operator.plan.facts.endings import Then, ending
from indexcache_operator.plan.facts.revision import KILL, RETRY, killed
from indexcache_operator.plan.facts.situation import Situation

HISTORY = 10
MEASURING = "Measuring on live traffic that is served all Full; nobody is exposed"
LONGEST_PAUSE = timedelta(days=1)
"""Between two exposures of a try that is held again and again."""


def enter(situation: Situation, phase: Phase, message: str) -> Status:
    """Return the status at the beginning of a phase."""
    return replace(
        situation.status,
        phase=phase,
        phase_started_at=situation.snapshot.now,
        requests_seen=0,
        message=message,
        waiting=None,
    )


def fall_back(situation: Situation, cause: str, message: str) -> Status:
    """Return the status with the intent to fall back. An intent that is there already stays: the first cause
    counts.
    """
    snapshot, status = situation.snapshot, situation.status
    intent = status.fallback
    if intent is None or intent.revision != status.revision:
        intent = FallbackStatus(cause=cause, message=message, since=snapshot.now, revision=status.revision)
    intent = _completed(situation, intent)
    if status.phase is Phase.FALLING_BACK:
        return replace(status, fallback=intent)
    message = f"{intent.cause}: {intent.message}" if intent.message else intent.cause
    falling = enter(situation, Phase.FALLING_BACK, message)
    if ending(intent.cause).then is Then.HOLD:
        falling = replace(falling, hold=_hold(situation, intent))
    return replace(falling, fallback=intent, step=None, traffic=weighted(status.traffic, 0))


def _completed(situation: Situation, intent: FallbackStatus) -> FallbackStatus:
    """Return the intent with where its cause lies, and the commands that stood when it began: it may have
    been written by an alert, which knows neither.
    """
    if intent.origin is not None:
        return intent
    annotations = situation.snapshot.observation.annotations
    by_annotation = intent.cause == "Killed" and killed(annotations, intent.revision)
    return replace(
        intent,
        origin=ending(intent.cause).origin,
        kill=annotations[KILL] if by_annotation else "",
        retried=annotations.get(RETRY, ""),
    )


def _hold(situation: Situation, intent: FallbackStatus) -> HoldStatus:
    """Return how a canary is held that ends undecided: for as long as a step may take, and for twice as long
    each time that it happens again.
    """
    snapshot, before = situation.snapshot, situation.status.hold
    times = before.times + 1 if before else 1
    pause = LONGEST_PAUSE
    if times < 20:  # beyond, it would leave the calendar
        pause = min(snapshot.spec.strategy.progress_deadline * 2 ** (times - 1), LONGEST_PAUSE)
    waiting, origin = situation.status.waiting, ending(intent.cause).origin
    rate = waiting.requests_per_minute_needed if waiting and origin is not Origin.PLATFORM else None
    return HoldStatus(
        cause=intent.cause,
        origin=origin,
        message=intent.message,
        since=snapshot.now,
        times=times,
        not_before=snapshot.now + pause,
        requests_per_minute_needed=rate,
        generation=snapshot.observation.generation,
        retried=snapshot.observation.annotations.get(RETRY, ""),
    )


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


def remember(
    situation: Situation, outcome: Outcome, reason: str, origin: Origin | None = None
) -> tuple[HistoryEntry, ...]:
    """Return the history with how this try ended; of what ends alike again and again the last time counts."""
    snapshot, status = situation.snapshot, situation.status
    pattern = (
        snapshot.observation.spec.index_cache.pattern
        if snapshot.observation.spec and snapshot.wanted_revision == status.revision
        else ""
    )
    entry = HistoryEntry(
        revision=status.revision,
        pattern=pattern,
        outcome=outcome,
        reason=reason,
        origin=origin,
        at=snapshot.now,
    )
    before = status.history
    if before and ending(reason).then is Then.HOLD and replace(before[-1], at=entry.at) == entry:
        before = before[:-1]
    return (*before, entry)[-HISTORY:]


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

"""Keeps the pace of requests and observations, and works out waits from it."""

from dataclasses import replace
from datetime import timedelta

from indexcache_operator.plan.facts import pace, requests
from indexcache_operator.plan.facts.memory import Memory, TestKey
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.waits.words import LONGEST, two_digits


def observe(situation: Situation) -> Memory:
    """Return the memory with the pace up to this look."""
    status, memory = situation.status, situation.memory
    place = f"{status.phase}/{status.step.index if status.step else ''}"
    counts = {
        counted(key): judgement.samples
        for answer in situation.evidence.answers
        for key, judgement in answer.judgements.items()
    }
    admitted = requests.admitted(situation.snapshot)
    now = situation.snapshot.now
    return replace(memory, pace=pace.after(memory.pace, now, place, admitted, counts))


def counted(key: TestKey) -> str:
    """Return the name by which a certificate's observations are counted."""
    return "/".join(map(str, key))


def requests_per_minute(situation: Situation) -> float | None:
    """Return how fast users' requests come, in two digits; None while it can't be told."""
    known = situation.memory.pace
    rate = known.requests_per_minute() if known else None
    return None if rate is None else two_digits(rate)


def known(situation: Situation) -> bool:
    """Return whether it was counted for long enough to tell a rate."""
    return requests_per_minute(situation) is not None


def requests_here(situation: Situation) -> int:
    """Return how many users' requests came in this phase or step, since the operator started at the
    earliest.
    """
    return situation.memory.pace.now.requests if situation.memory.pace else 0


def minutes(wanted: float, per_minute: float | None) -> float | None:
    """Return how long so many take at a rate; None where it can't be told or is too long to be told."""
    if per_minute is None or per_minute <= 0:
        return None
    found = wanted / per_minute
    return found if found <= LONGEST / timedelta(minutes=1) else None


def rate_for(
    wanted: float, within: timedelta, *, per_minute: float | None, requests: float | None, weight: int
) -> float:
    """Return how many requests a minute bring so many observations within a time.

    By how many observations a minute the present rate of requests brings; while none came, by one observation
    a request on the canary.
    """
    needed = wanted / (within / timedelta(minutes=1))
    ratio = per_minute / requests if per_minute and requests else weight / 100
    return two_digits(needed / ratio)

"""Holds how fast users' requests and observations come: what an estimate of a wait rests on, and never a
verdict.

Kept in memory alone, for this phase or step. After a start of the operator, and where it could not look for a
while, nothing is known until SOON has passed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

SOON = timedelta(seconds=30)
"""After which a rate is told."""
MARKED_EVERY, KEPT = timedelta(seconds=30), timedelta(hours=1)
ENOUGH, LATELY = 20, timedelta(minutes=10)
"""A rate is that of the last requests, so many and over so long at least, or of all since the oldest mark."""
GAP = timedelta(seconds=60)
"""Between two looks: after a longer one counting begins anew."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Holds what had come by a moment."""

    at: datetime
    requests: int = 0
    observations: Mapping[str, float] = field(default_factory=dict)
    """By what they are counted for."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Holds the counts at some moments of one phase or step."""

    place: str
    admitted: Mapping[tuple[str, str], int]
    """Requests that each life of an engine had admitted at the last look."""
    now: Mark
    marks: tuple[Mark, ...]

    @property
    def lasted(self) -> timedelta:
        """Return for how long has been counted."""
        return self.now.at - self.marks[0].at

    def requests_per_minute(self) -> float | None:
        """Return how fast users' requests come; None while it can't be told."""
        mark = self._base()
        return None if mark is None else (self.now.requests - mark.requests) / _minutes(mark, self.now)

    def per_minute(self, counted: str) -> float | None:
        """Return how fast observations of one kind come; None while it can't be told."""
        mark = self._base()
        if mark is None:
            return None
        new = self.now.observations.get(counted, 0.0) - mark.observations.get(counted, 0.0)
        return new / _minutes(mark, self.now) if new >= 0 else None

    def _base(self) -> Mark | None:
        if self.lasted < SOON:
            return None
        for mark in reversed(self.marks):
            if self.now.requests - mark.requests >= ENOUGH and self.now.at - mark.at >= LATELY:
                return mark
        return self.marks[0]


def after(
    pace: Pace | None,
    now: datetime,
    place: str,
    admitted: Mapping[tuple[str, str], int],
    observations: Mapping[str, float],
) -> Pace:
    """Return the pace with what has come since the last look; a new one where there is none, or of another
    place.

    `admitted`: requests that each life of an engine has admitted; `observations`: their numbers by kind.
    """
    if pace is None or pace.place != place or now - pace.now.at > GAP:
        begun = Mark(at=now, observations=dict(observations))
        return Pace(place=place, admitted=admitted, now=begun, marks=(begun,))
    new = sum(max(n - pace.admitted.get(life, n), 0) for life, n in admitted.items())
    latest = Mark(at=now, requests=pace.now.requests + new, observations=dict(observations))
    marks = pace.marks
    if now - marks[-1].at >= MARKED_EVERY:
        marks = (*(mark for mark in marks if now - mark.at <= KEPT), latest)
    return replace(pace, admitted={**pace.admitted, **admitted}, now=latest, marks=marks)


def _minutes(mark: Mark, now: Mark) -> float:
    return (now.at - mark.at) / timedelta(minutes=1)

"""Says whether this process may act, and under which term. Whatever writes is handed a mandate and asks it
again right before each write.

A lead is held until an instant of this process's own clock, which goes on while the process stands still: who
wakes after it holds nothing, before anybody has told it so. A mandate belongs to one term. Once that has
ended it never counts again, though the same process may lead once more.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Counts while the machine sleeps, too, where there is such a clock."""


class NotLeading(Exception):
    """A write that isn't sent, as whoever planned it leads no longer."""


def clock() -> float:
    """Return the time, in seconds since nobody cares when."""
    return time.clock_gettime(_CLOCK)


@dataclass(frozen=True, kw_only=True)
class Mandate:
    """Allows to act under one term."""

    term: int
    left: Callable[[], float]
    """Returns for how many seconds it holds from now on. Raises NotLeading if it holds no longer."""


UNBOUND = Mandate(term=0, left=lambda: math.inf)
"""Of whoever acts alone, and of what anybody may do."""


class Lead:
    """Holds what this process may do by now. Whoever elects writes it, whoever acts reads it."""

    def __init__(self, now: Callable[[], float] = clock) -> None:
        self._now = now
        self._held: tuple[int, float] | None = None

    def hold(self, term: int, until: float) -> None:
        """Lead in a term until an instant; of a term that is held already, until a later one."""
        self._held = (term, until)

    def lose(self) -> None:
        """Lead no longer."""
        self._held = None

    @property
    def term(self) -> int | None:
        """Return the term that was last told; None after it was lost."""
        return self._held[0] if self._held is not None else None

    def mandate(self) -> Mandate | None:
        """Return what allows to act now; None while this process doesn't lead."""
        if self._held is None or self._now() >= self._held[1]:
            return None
        term = self._held[0]
        return Mandate(term=term, left=lambda: self._left(term))

    def _left(self, term: int) -> float:
        if self._held is None or self._held[0] != term:
            raise NotLeading(f"term {term} is over")
        left = self._held[1] - self._now()
        if left <= 0:
            raise NotLeading(f"term {term} was not renewed in time")
        return left


def alone() -> Lead:
    """Return the lead of a process beside which there is no other: for ever, in term 0."""
    lead = Lead()
    lead.hold(0, math.inf)
    return lead

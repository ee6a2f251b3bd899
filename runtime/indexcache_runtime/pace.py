"""Which steps are measured and which are timed, where that is not free. Pure; the engine core asks once a step, and tells what steps took.

A step that CUDA graphs would replay must run without them to be measured, which takes several times as long. So such steps are measured
as rarely as their price asks for: after one that took so much longer than its neighbours, replayed steps that could have been measured
run until they have taken 1 / MEASURED_SHARE of that. A step that runs without graphs anyway is measured whenever it has rows to measure.
"""

import statistics
from collections import deque
from dataclasses import dataclass, field

MEASURED_SHARE = 0.004
"""Of the time of replayed steps, at most so much is spent on measuring."""

FIRST_AFTER = 16
"""Replayed steps before the first measured one: they tell what one takes."""

AROUND = 4
"""Steps that end after a measured one was scheduled, itself among them, which together hold its price: two may be under way then, and
the engine hands a step over before it takes the results of the one before, which thus ends late."""

TIMED_EVERY = 16
"""Of prefill steps, one in so many is timed instead of measured."""

PREFILL_TOKENS = 2048
"""A step of at least so many tokens is a prefill step."""


@dataclass
class Pace:
    """One engine's."""

    graphed_tokens: int = 0
    """Steps of at most so many tokens are replayed from graphs; 0: none is."""
    timed: bool = False
    """Whether steps can be timed."""
    _usual: deque[float] = field(default_factory=lambda: deque(maxlen=FIRST_AFTER))
    _owed: float = 0.0
    """Seconds of replayed steps before the next one is measured."""
    _watched: int = 0
    """Steps still to come whose time may hold what a measured one costs; 0: that is known."""
    _excess: float = 0.0
    """By how much those so far took longer than usual, in seconds."""
    _prefills: int = 0

    def measure(self, tokens: int) -> bool:
        """Whether a step of so many tokens, which would be measured were it free, is to be. If it is, tell `measuring`."""
        if tokens > self.graphed_tokens:
            return True
        if len(self._usual) < FIRST_AFTER or self._watched:
            return False
        if self._owed > 0:
            self._owed -= statistics.median(self._usual)
        return self._owed <= 0

    def measuring(self, tokens: int) -> None:
        """A step of so many tokens is measured."""
        if tokens <= self.graphed_tokens:
            self._watched, self._excess = AROUND, 0.0

    def took(self, tokens: int, seconds: float) -> None:
        """A step of so many tokens took so long, from the end of the one before it."""
        if tokens > self.graphed_tokens:
            return
        if not self._watched:
            self._usual.append(seconds)
            return
        self._watched -= 1
        self._excess += seconds - statistics.median(self._usual)
        if not self._watched:
            self._owed = max(self._excess, 0.0) / MEASURED_SHARE

    def time(self, tokens: int) -> bool:
        """Whether a step of so many tokens is timed."""
        if not self.timed or tokens <= self.graphed_tokens or tokens < PREFILL_TOKENS:
            return False
        self._prefills += 1
        return self._prefills % TIMED_EVERY == 1

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
    _awaited: bool = False
    """A replayed step's measurement is under way; what it costs isn't known yet."""
    _prefills: int = 0

    def measure(self, tokens: int) -> bool:
        """Whether a step of so many tokens, which would be measured were it free, is to be. If it is, tell `measuring`."""
        if tokens > self.graphed_tokens:
            return True
        if len(self._usual) < FIRST_AFTER or self._awaited:
            return False
        if self._owed > 0:
            self._owed -= statistics.median(self._usual)
        return self._owed <= 0

    def measuring(self, tokens: int) -> None:
        """A step of so many tokens is measured."""
        self._awaited = self._awaited or tokens <= self.graphed_tokens

    def took(self, tokens: int, seconds: float, *, measured: bool) -> None:
        """A step of so many tokens took so long, from the end of the one before it."""
        if tokens > self.graphed_tokens:
            return
        if measured:
            self._awaited = False
            self._owed = max(seconds - statistics.median(self._usual), 0.0) / MEASURED_SHARE
        else:
            self._usual.append(seconds)

    def time(self, tokens: int) -> bool:
        """Whether a step of so many tokens is timed."""
        if not self.timed or tokens <= self.graphed_tokens or tokens < PREFILL_TOKENS:
            return False
        self._prefills += 1
        return self._prefills % TIMED_EVERY == 1

"""Which steps are measured and which are timed, where that is not free. Pure; the engine core asks once a step, and tells what steps took.

Measuring may take so much of the time of the steps that could be measured and no more: after one whose price is p seconds, none is measured
until such steps have taken p / MEASURED_SHARE. There are two accounts. The price of a step that CUDA graphs replay is by how much it took
longer than its neighbours: what is measured after it holds up the next one, and a graph may have to be captured for it. A longer step runs
without graphs, and the worker says what measuring took; one that doesn't say measures for nothing. A step in between, of few tokens and
some of a prompt, is neither: it tells nothing of what replayed steps take, and is not measured.
"""

import statistics
from collections import deque
from dataclasses import dataclass, field

MEASURED_SHARE = 0.005
"""Of the time of steps that could be measured, at most so much is spent on measuring."""

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
class MeasuringBudget:
    """One engine's."""

    graphed_tokens: int = 0
    """Steps of at most so many tokens, one a request, are replayed from graphs; 0: none is."""
    timed: bool = False
    """Whether steps can be timed."""
    _usual: deque[float] = field(default_factory=lambda: deque(maxlen=FIRST_AFTER))
    """What replayed steps took of late."""
    _owed: float = 0.0
    """Seconds of replayed steps before the next one is measured."""
    _watched: int = 0
    """Steps still to come whose time may hold what a measured one costs; 0: that is known."""
    _excess: float = 0.0
    """By how much those so far took longer than usual, in seconds."""
    _owed_long: float = 0.0
    """Seconds of long steps before the next one is measured."""
    _awaited: bool = False
    """What the last measured one cost isn't known yet."""
    _prefills: int = 0

    def measure(self, tokens: int, requests: int) -> bool:
        """Whether a step of so many tokens for so many requests is to be measured, if there is something. If it is, tell `measuring`."""
        if tokens > self.graphed_tokens:
            return not self._awaited and self._owed_long <= 0
        return tokens == requests and len(self._usual) == FIRST_AFTER and not self._watched and self._owed <= 0

    def measuring(self, tokens: int) -> None:
        """A step of so many tokens is measured."""
        if tokens > self.graphed_tokens:
            self._awaited = True
        else:
            self._watched, self._excess = AROUND, 0.0

    def took(self, tokens: int, requests: int, seconds: float, *, wanted: bool) -> None:
        """A step of so many tokens for so many requests took so long, from the end of the one before it. `wanted`: it could be measured."""
        if tokens > self.graphed_tokens:
            self._owed_long = max(self._owed_long - seconds * wanted, 0.0)
        elif tokens > requests:
            return
        elif not self._watched:
            self._usual.append(seconds)
            self._owed = max(self._owed - seconds * wanted, 0.0)
        else:
            self._watched -= 1
            self._excess += seconds - statistics.fmean(self._usual)  # a median hides a price where most steps are slow
            if not self._watched:
                self._owed = max(self._excess, 0.0) / MEASURED_SHARE

    def price(self, tokens: int, seconds: float, step: float) -> None:
        """Measuring a step of so many tokens took `seconds` of the `step` seconds that it took in all. Told after `took`."""
        if tokens > self.graphed_tokens:
            self._awaited = False
            self._owed_long = max(seconds / MEASURED_SHARE - step, 0.0)

    def time(self, tokens: int) -> bool:
        """Whether a step of so many tokens is timed."""
        if not self.timed or tokens <= self.graphed_tokens or tokens < PREFILL_TOKENS:
            return False
        self._prefills += 1
        return self._prefills % TIMED_EVERY == 1

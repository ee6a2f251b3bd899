"""Bounds how much of an engine's time measuring may take. Pure; the engine core asks once a step, and tells
what steps took.

Measuring may take a fixed share of the time of the steps that could be measured, and no more: after a
measured step whose price is p seconds, none is measured until such steps have taken p / MEASURED_SHARE. Each
kind of step has a budget of its own, since their prices are known in different ways:

* a step that CUDA graphs replay pays by how much it took longer than its neighbours (ReplayBudget): what is
  measured after it holds up the next one, and a graph may have to be captured for it, or it has to run
  without graphs;
* a longer step runs without graphs, and the worker says what measuring took (EagerBudget). One that doesn't
  say measures for nothing;
* a step in between, of few tokens and some of a prompt, is neither: it tells nothing of what replayed steps
  take, and is not measured.
"""

import statistics
from collections import deque
from dataclasses import dataclass, field

from indexcache_core.evidence.freshness import MEASURED_SHARE as MEASURED_SHARE

FIRST_AFTER = 16
"""Replayed steps before the first measured one: they tell what one takes."""

AROUND = 4
"""Steps that end after a measured one was scheduled, itself among them, which together hold its price: two
may be under way then, and the engine hands a step over before it takes the results of the one before, which
thus ends late."""


@dataclass
class ReplayBudget:
    """Pays for steps that are replayed from graphs. Their price is inferred from what they and their
    neighbours took."""

    _usual: dict[bool, deque[float]] = field(
        default_factory=lambda: {reuses: deque(maxlen=FIRST_AFTER) for reuses in (False, True)}
    )
    """What the last steps took that pay for nothing: all Full, and under reuse, for both may come in turn."""
    _owed: float = 0.0
    """Seconds of steps before the next one is measured."""
    _watched: int = 0
    """Steps still to come whose time may hold what a measured one costs; 0: that is known."""
    _excess: float = 0.0
    """By how much those so far took longer than usual, in seconds."""

    def is_open(self, *, reuses: bool) -> bool:
        """Return whether the next step, under reuse or all Full, may be measured."""
        return len(self._usual[reuses]) == FIRST_AFTER and not self._watched and self._owed <= 0

    def begin(self) -> None:
        """Expect the price of a step that is measured in those that end next."""
        self._watched, self._excess = AROUND, 0.0

    def took(self, seconds: float, *, wanted: bool, reuses: bool) -> None:
        """Count a step that ended. `wanted`: it could be measured, so its time pays for those that are.
        `reuses`: it ran under reuse. One of a kind that is not known yet counts as price, all of it."""
        usual = self._usual[reuses]
        if not self._watched:
            usual.append(seconds)
            self._owed = max(self._owed - seconds * wanted, 0.0)
            return
        self._watched -= 1
        # Not the median, which hides a price where most steps are slow.
        self._excess += seconds - (statistics.fmean(usual) if usual else 0.0)
        if not self._watched:
            self._owed = max(self._excess, 0.0) / MEASURED_SHARE


@dataclass
class EagerBudget:
    """Pays for longer steps, which run without graphs. Their price is told."""

    _owed: float = 0.0
    """Seconds of steps before the next one is measured."""
    _is_awaited: bool = False
    """What the last measured step cost isn't known yet."""

    @property
    def is_open(self) -> bool:
        """Return whether the next step may be measured."""
        return not self._is_awaited and self._owed <= 0

    def begin(self) -> None:
        """Await the price of a step that is measured."""
        self._is_awaited = True

    def took(self, seconds: float, *, wanted: bool) -> None:
        """Count a step that ended. `wanted`: it could be measured, so its time pays for those that are."""
        self._owed = max(self._owed - seconds * wanted, 0.0)

    def charge(self, price_seconds: float, step_seconds: float) -> None:
        """Owe the price of a measured step, less what the step itself pays."""
        self._is_awaited = False
        self._owed = max(price_seconds / MEASURED_SHARE - step_seconds, 0.0)


@dataclass
class MeasuringBudget:
    """Holds one engine's budgets: it knows by a step's tokens and requests which budget the step belongs
    to."""

    graphed_tokens: int = 0
    """Steps of at most so many tokens, one a request, are replayed from graphs; 0: none is."""
    _replayed: ReplayBudget = field(default_factory=ReplayBudget)
    _eager: EagerBudget = field(default_factory=EagerBudget)

    def allows(self, tokens: int, requests: int, *, reuses: bool) -> bool:
        """Return whether a step may be measured, if it has something to measure. If it then is, tell
        `begin`. `reuses`: it runs under reuse."""
        if tokens > self.graphed_tokens:
            return self._eager.is_open
        return tokens == requests and self._replayed.is_open(reuses=reuses)

    def begin(self, tokens: int) -> None:
        """Count a step of so many tokens as measured; what that costs is told or inferred later."""
        (self._eager if tokens > self.graphed_tokens else self._replayed).begin()

    def took(self, tokens: int, requests: int, seconds: float, *, wanted: bool, reuses: bool) -> None:
        """Count a step that ended so many seconds after the one before it. `wanted`: it could be measured;
        `reuses`: it ran under reuse."""
        if tokens > self.graphed_tokens:
            self._eager.took(seconds, wanted=wanted)
        elif tokens <= requests:
            self._replayed.took(seconds, wanted=wanted, reuses=reuses)

    def charge(self, tokens: int, price_seconds: float, step_seconds: float) -> None:
        """Charge for a measured step what measuring took of the time that the step took in all.

        Told after `took`. The price of a replayed step isn't told but inferred.
        """
        if tokens > self.graphed_tokens:
            self._eager.charge(price_seconds, step_seconds)

"""Plays the bets of indexcache_core/evidence for many streams at once: the same factors, purse and mixtures,
on arrays.
"""

import math
from functools import cached_property
from typing import Any

import numpy as np
from indexcache_core.evidence import betting, detector
from indexcache_core.histogram import BUCKETS

Array = np.ndarray[Any, np.dtype[np.float64]]
Found = np.ndarray[Any, np.dtype[np.int64]]


class _Bets:
    """Holds streams of observations in [0, 1] (runs, requests, tests), by bucket."""

    def __init__(self, values: Array, threshold: float) -> None:
        self._buckets = np.minimum((values * BUCKETS).astype(int), BUCKETS - 1)
        self._threshold = threshold
        self.runs, self.requests, self.tests = values.shape

    def _gains(self, factors: Array, start: int, end: int) -> Array:
        """Return the logarithms of what each fraction gains by requests [start, end): (fractions, runs,
        tests).
        """
        gains: Array = factors[:, self._buckets[:, start:end]].sum(axis=2)
        return gains


class Detectors(_Bets):
    """Plays detector.py's bets against "the mean was always at or above the threshold"."""

    @cached_property
    def _factors(self) -> Array:
        """Return the logarithm of the factor of an observation in each bucket, by fraction: of 1 - X, whose
        bucket is counted from the other end.
        """
        factors: Array = np.array(betting.log_factors(1.0 - self._threshold))[:, ::-1]
        return factors

    def play(self, limit: float, at_once: int) -> Found:
        """Return the request at which each test reached its limit, in nats, or -1: (runs, tests).

        at_once: requests a look; a look takes a second. The other stream, shadow or on, has half of the
        stake, and nothing to bet on.
        """
        log_s = np.full((len(betting.FRACTIONS), self.runs, self.tests), detector.log_purse(1, 1))
        other = detector.fresh().log_e
        found = np.full((self.runs, self.tests), -1, dtype=np.int64)
        for slot, start in enumerate(range(0, self.requests, at_once), 2):
            gains = self._gains(self._factors, start, start + at_once)
            log_s = np.logaddexp(log_s, detector.log_purse(slot, slot)) + gains
            log_e = np.logaddexp(_log_mean(log_s), other) - math.log(2)
            end = min(start + at_once, self.requests) - 1
            found[(log_e >= limit) & (found < 0)] = end
        return found


class Certificates(_Bets):
    """Plays certificate.py's bets against "the mean is at or under the threshold"."""

    def play(self, at_once: int) -> Array:
        """Return the logarithm of the wealth after each look: (runs, looks, tests)."""
        factors = np.array(betting.log_factors(self._threshold))
        wealth = np.zeros((len(betting.FRACTIONS), self.runs, self.tests))
        looks = []
        for start in range(0, self.requests, at_once):
            wealth = wealth + self._gains(factors, start, start + at_once)
            looks.append(_log_mean(wealth))
        return np.stack(looks, axis=1)


def _log_mean(logs: Array) -> Array:
    """Return log(mean(exp(logs))) over the fractions."""
    top = logs.max(axis=0)
    mean: Array = top + np.log(np.exp(logs - top).mean(axis=0))
    return mean


def exact_interval(errors: int, runs: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval (Clopper and Pearson, 1934) of a share of which so many were seen."""
    tail = (1.0 - level) / 2
    low = 0.0 if errors == 0 else _where(lambda p: 1.0 - _at_most(errors - 1, runs, p) >= tail)
    high = 1.0 if errors == runs else _where(lambda p: _at_most(errors, runs, p) <= tail)
    return round(low, 5), round(high, 5)


def _where(holds: Any) -> float:
    """Return the least share from which on something holds."""
    low, high = 0.0, 1.0
    while high - low > 1e-7:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _at_most(errors: int, runs: int, share: float) -> float:
    """Return the chance of at most so many."""
    if share <= 0.0 or share >= 1.0:
        return float(share <= 0.0 or errors >= runs)
    logs = [
        math.lgamma(runs + 1) - math.lgamma(n + 1) - math.lgamma(runs - n + 1)
        + n * math.log(share) + (runs - n) * math.log1p(-share)
        for n in range(errors + 1)
    ]  # fmt: skip
    return min(math.fsum(math.exp(x) for x in logs), 1.0)

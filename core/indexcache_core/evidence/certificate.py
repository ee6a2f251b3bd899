"""The certificate that promotes: evidence *for* a pattern, so that silence never passes for health.

Null "bad": E[X_t | past] <= m, always. The wealth V is the mean over betting.FRACTIONS; `certified` when V >=
1 / beta. By Ville's inequality a bad pattern is ever certified with probability at most beta.

Certificates aren't split among tests as alarms are: going on needs all of them, and if any one guardrail is
bad, its own certificate alone must fail (an intersection-union test: Berger 1982).
"""

import math
from collections.abc import Callable

from indexcache_core.evidence.betting import log_mean_exp, log_wealth
from indexcache_core.histogram import Histogram

_PRECISION = 1e-4
HORIZON = 1e9
"""Observations; what needs more is as good as never."""


def log_certificate(histogram: Histogram, m: float) -> float:
    """Return log V against "mean <= m"; 0 without observations."""
    return log_mean_exp(log_wealth(histogram.counts, m))


def certified(histogram: Histogram, m: float, beta: float) -> bool:
    """Return whether "mean <= m" is refuted at level beta."""
    return log_certificate(histogram, m) >= -math.log(beta)


def still_needed(histogram: Histogram, m: float, beta: float) -> int | None:
    """Return an estimate of how many observations are still wanted if those to come are like those that came.

    0 once certified; None without observations, or where their like would never certify.
    """
    have = float(histogram.count)
    if not have:
        return None
    wanted = -math.log(beta)
    now = log_wealth(histogram.counts, m)
    if log_mean_exp(now) >= wanted:
        return 0
    rates = [w / have for w in now]
    if max(rates) <= 0:
        return None

    # The logarithm of a mixture of exponentials is convex in the number, and under the mark now: it crosses
    # the mark once.
    def enough(total: float) -> bool:
        return log_mean_exp([rate * total for rate in rates]) >= wanted

    low, high = have, have * 2
    while not enough(high):
        low, high = high, high * 2
        if high > HORIZON:
            return None
    while high - low > 0.5:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return max(math.ceil(high - have), 1)


def lower_bound(histogram: Histogram, delta: float) -> float | None:
    """Return the largest m, to 1e-4, for which "mean <= m" is refuted at level delta: with probability 1 -
    delta the mean is at all times above.

    None without observations. V falls as m rises (its factors are 1 - c + c x / m), so bisection finds it.
    """
    return largest(lambda m: certified(histogram, m, delta)) if histogram.count else None


def largest(refuted: Callable[[float], bool]) -> float:
    """Return the largest m in [0, 1], to 1e-4, that is refuted; of those under it, all are."""
    low, high = 0.0, 1.0
    while high - low > _PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low

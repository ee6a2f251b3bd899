"""The wealth of bets on bucketed observations: the formula under certificates and detectors.

The bet. For X in [0, 1] and the null "E[X | past] <= m", a fraction c in (0, 1) of the wealth at stake
multiplies it by

    1 - c + c X / m  =  1 + (c / m) (X - m),

whose expectation under the null is at most 1 and which is never under 1 - c: a nonnegative supermartingale,
so by Ville's inequality the chance that its product *ever* reaches 1 / delta is at most delta, however long
and often one looks (J. Ville, 1939; Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
betting", JRSSB 2024, arXiv 2010.09686). A mixture of such products over fixed fractions is one too.

Because the fractions are fixed, the wealth depends on the histogram alone, not on the order or the looks in
which it was filled: what the engines' cumulative counters hold is all there is to know, and a restarted
reader loses nothing.

Buckets. Each observation is replaced by the bound of its bucket that works against the bet, which only makes
the wealth smaller. The price is power, not error: a mean within one bucket's width (0.02) of the threshold
may never be told from it.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

from indexcache_core.histogram import BUCKETS, lower

FRACTIONS = (0.05, 0.2, 0.5, 0.95)
"""Of the wealth, at stake in each bet. Small ones find a mean near the threshold. Large ones find a collapse
soon, most of all under a low threshold, where one observation can't win much; none is 1, so no observation
ever costs all of a bet.
"""


@lru_cache(maxsize=256)
def log_factors(m: float) -> tuple[tuple[float, ...], ...]:
    """Return for each fraction the logarithm of the factor of an observation in each bucket, for the null
    "mean <= m", m in (0, 1).
    """
    if not 0.0 < m < 1.0:
        raise ValueError(f"{m} is not a threshold in (0, 1)")
    return tuple(tuple(math.log1p(c * (lower(i) / m - 1.0)) for i in range(BUCKETS)) for c in FRACTIONS)


def log_wealth(counts: Sequence[int], m: float) -> tuple[float, ...]:
    """Return for each fraction the logarithm of the wealth made of these observations, counted by bucket, for
    the null "mean <= m".
    """
    filled = [(i, n) for i, n in enumerate(counts) if n]
    return tuple(sum(n * row[i] for i, n in filled) for row in log_factors(m))


def mirrored(counts: Sequence[int]) -> tuple[int, ...]:
    """Return the counts of 1 - X. Its bucket's lower bound is 1 minus the upper bound of X's: the bet against
    X stays conservative.
    """
    return tuple(reversed(counts))


def log_mean_exp(logs: Sequence[float]) -> float:
    """Return log(mean(exp(logs))), without overflow."""
    top = max(logs)
    if top == -math.inf:
        return top
    return top + math.log(sum(math.exp(x - top) for x in logs) / len(logs))


def log_add(a: float, b: float) -> float:
    """Return log(exp(a) + exp(b))."""
    high, low = max(a, b), min(a, b)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))

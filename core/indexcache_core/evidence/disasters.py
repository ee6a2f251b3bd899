"""The test on rare disasters: answers of probes that are wholly lost, which the mean of clipped drops
(quality.py) hides.

An observation is 1, or 0 where the drop is over quality.CLIP tolerances; what must hold is that the mean is
at least 1 - q, q the share of disasters that is allowed. For these a certificate by buckets (certificate.py)
could never be had: it counts a 1 as the lower bound of its bucket, .98. So it is exact here.

The bet, against the null "P(disaster | past) >= q, always": with a share p < q in mind, a disaster multiplies
the wealth by p / q and any other answer by (1 - p) / (1 - q). Its expectation is 1 at q and falls as the true
share rises, since p / q < 1 < (1 - p) / (1 - q): a nonnegative supermartingale under the null, and so is the
mean of such bets over SHARES. By Ville's inequality the chance that it ever reaches 1 / beta is at most beta.

Without a single disaster, for beta = .05 and q = .02, 176 answers are needed; nothing can do with fewer than
log(1 / beta) / -log(1 - q), 149. Detectors need no more than buckets (detector.py): they are good at the
rare.
"""

import math

from indexcache_core.evidence import quality
from indexcache_core.evidence.betting import log_mean_exp
from indexcache_core.evidence.certificate import HORIZON, largest
from indexcache_core.histogram import Histogram

SHARES = (0.0, 0.1, 0.25, 0.5)
"""Of q, had in mind by one bet each."""


def value(drop: float, tolerance: float) -> float:
    """Return the observation of a drop, in nats a token. A drop that is no number is a disaster."""
    return 1.0 if drop <= quality.CLIP * tolerance else 0.0


def log_certificate(histogram: Histogram, m: float) -> float:
    """Return the log of the wealth against "mean <= m", m in (0, 1), of observations that are 0 or 1."""
    lost = histogram.counts[0]
    return _log_wealth(lost, histogram.count - lost, 1.0 - m)


def certified(histogram: Histogram, m: float, beta: float) -> bool:
    """Return whether "mean <= m" is refuted at level beta."""
    return log_certificate(histogram, m) >= -math.log(beta)


def still_needed(histogram: Histogram, m: float, beta: float) -> int | None:
    """Return an estimate of how many answers are still wanted if those to come are like those that came.

    0 once certified; None without any, or where their like would never certify.
    """
    if not histogram.count:
        return None
    if certified(histogram, m, beta):
        return 0
    lost, kept = histogram.counts[0], histogram.count - histogram.counts[0]
    more = 1.0 / histogram.count
    while _log_wealth(lost * (1 + more), kept * (1 + more), 1.0 - m) < -math.log(beta):
        more *= 1.05
        if more * histogram.count > HORIZON:
            return None
    return math.ceil(more * histogram.count)


def lower_bound(histogram: Histogram, delta: float) -> float | None:
    """Return the largest m, to 1e-4, for which "mean <= m" is refuted at level delta; None without any."""
    return largest(lambda m: certified(histogram, m, delta)) if histogram.count else None


def _log_wealth(lost: float, kept: float, q: float) -> float:
    """Return the log of the mean over SHARES of the wealth of bets on so many answers."""
    return log_mean_exp(
        [
            (lost * math.log(s) if s else (-math.inf if lost else 0.0))
            + kept * (math.log1p(-s * q) - math.log1p(-q))
            for s in SHARES
        ]
    )

"""Tells whether the engines' own counters show the share of traffic that the route was told to give.

A status is no data plane: a gateway cut off from its proxies reports the new generation as accepted while
traffic goes on as before. So a weight counts as reached only if the requests that engines admitted since the
change *reject the old share* and *agree with the new*; zero counts as reached only if they bound the share
from above. Without requests nothing is known.

One looks again and again, so the old share is rejected by a likelihood ratio: over a whole count it exceeds 1
/ delta with a chance of delta at most, however often one looks (Ville). A caller that is told NO counts anew
from there, and spends less with each count (`spent`): a change takes a moment to reach every proxy, and what
came before it would weigh on the count for ever. NO is a test at level DELTA at each look: being wrong, it
costs a new count. Requests that are assigned by anything but independent weighted choice (sessions that
stick, a proxy that balances connections) scatter more than a binomial, hence `slack` around the new share.

Binomial tails: exact up to EXACT_UP_TO requests, beyond that Chernoff's bound, which never understates them.
"""

import math
from enum import StrEnum

DELTA = 1e-3
EXACT_UP_TO = 1000
SLACK = 0.10
"""How far, in share of the traffic, the canary's may be from the weight and still count as the weight; at
most a third of the change.
"""


class Reached(StrEnum):
    """Says what the counters show of the desired share."""

    YES = "Yes"
    NO = "No"
    UNKNOWN = "Unknown"


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _divergence(q: float, p: float) -> float:
    """Return the Kullback-Leibler divergence of Bernoulli(q) from Bernoulli(p), in nats; p in (0, 1)."""
    return (q * math.log(q / p) if q > 0 else 0.0) + ((1 - q) * math.log((1 - q) / (1 - p)) if q < 1 else 0.0)


def at_most(k: int, n: int, p: float) -> float:
    """Return P(Binomial(n, p) <= k), or a bound above it."""
    if k >= n or p <= 0.0:
        return 1.0
    if k < 0 or p >= 1.0:
        return 0.0
    if n > EXACT_UP_TO:
        return 1.0 if k >= n * p else math.exp(-n * _divergence(k / n, p))
    return min(
        math.fsum(
            math.exp(_log_choose(n, i) + i * math.log(p) + (n - i) * math.log1p(-p)) for i in range(k + 1)
        ),
        1.0,
    )


def at_least(k: int, n: int, p: float) -> float:
    """Return P(Binomial(n, p) >= k), or a bound above it."""
    return at_most(n - k, n, 1.0 - p)


def consistent(canary: int, total: int, share: float, delta: float = DELTA) -> bool:
    """Return whether `canary` of `total` requests don't reject the share at level delta (two-sided)."""
    return at_most(canary, total, share) > delta / 2 and at_least(canary, total, share) > delta / 2


def spent(number: int, delta: float = DELTA) -> float:
    """Return what the n-th of any number of counts may be wrong by, so that all of them together are by at
    most delta.
    """
    return delta / (number * (number + 1))


def likelihood_ratio(canary: int, total: int, *, old: float, new: float) -> float:
    """Return log of how much likelier `canary` of `total` requests are under the new share than under the
    old; both in (0, 1).
    """
    return canary * math.log(new / old) + (total - canary) * math.log((1 - new) / (1 - old))


def judge(
    canary: int, total: int, *, old: float, new: float, delta: float = DELTA, slack: float = SLACK
) -> Reached:
    """Judge whether the canary's share of traffic is `new`, where before the change it was `old` (both in [0,
    1]).

    `canary` of `total` requests were admitted by canary pods since the change was accepted. YES: some share
    within `slack` of the new one agrees with them, and every share from the old one on, away from the new, is
    rejected (the chance that one count ever says a false YES while the traffic is still split the old way is
    at most `delta`). NO: the new share, slack included, is rejected. A share of zero must be seen as zero.
    """
    if total <= 0:
        return Reached.UNKNOWN
    if new <= 0.0:
        if canary > 0:
            return Reached.NO
        return Reached.YES if old <= 0.0 or at_most(0, total, old) <= delta else Reached.UNKNOWN
    observed = canary / total
    slack = min(slack, abs(new - old) / 3) if new != old else slack
    low, high = max(new - slack, 0.0), min(new + slack, 1.0)
    agrees = low <= observed <= high or consistent(canary, total, low) or consistent(canary, total, high)
    if not agrees:
        return Reached.NO
    if new == old:
        moved = True
    elif old <= 0.0 or old >= 1.0:  # certain before, so one request tells
        moved = canary > 0 if old <= 0.0 else canary < total
    else:  # against the edge that is nearest to the old share: so it rises for every share within slack
        moved = likelihood_ratio(canary, total, old=old, new=low if new > old else high) >= -math.log(delta)
    return Reached.YES if moved else Reached.UNKNOWN


def requests_needed(old: float, new: float, delta: float = DELTA) -> int:
    """Return about how many requests tell the old share from the new: normal approximation of the binomial,
    both errors `delta`.
    """
    if old == new:
        return 1
    if old <= 0.0 or new <= 0.0:
        share = max(old, new)
        return 1 if share >= 1.0 else math.ceil(math.log(delta) / math.log1p(-share))
    z = math.sqrt(-2.0 * math.log(delta))
    spread = math.sqrt(old * (1 - old)) + math.sqrt(new * (1 - new))
    return max(1, math.ceil((z * spread / (new - old)) ** 2))

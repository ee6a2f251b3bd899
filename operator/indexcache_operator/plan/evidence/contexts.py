"""Tells how long the users' contexts are of late: what probes are drawn by, and which certificates are asked
for.

Engines count that themselves, from the beginning of what they measure for this try on, the older requests the
lighter (Requests.recent in the contract). So it is the same to an operator that has just begun.
"""

from collections.abc import Iterator, Sequence

from indexcache_core.contexts import CONTEXT_ENDS_IN_K, JUDGED
from indexcache_core.contract import Requests, Work

from indexcache_operator.plan.facts.situation import Situation

BUCKETS = len(CONTEXT_ENDS_IN_K) + 1


def shares(situation: Situation, buckets: Sequence[int]) -> dict[int, float]:
    """Return the share of users' requests in each of these buckets of context length, of those in all of
    them; empty without any.
    """
    return _shares([requests.recent for requests in _counted(situation)], buckets, ())


def weight(situation: Situation, buckets: Sequence[int]) -> float:
    """Return how many of users' requests are in these buckets, the older the lighter."""
    return sum(requests.recent[b] for requests in _counted(situation) for b in buckets)


def shares_of_work(situation: Situation) -> dict[tuple[int, Work], float]:
    """Return the share of users' requests in each judged bucket that are prefilled, so all of them, and of
    those that decode; of the requests in all judged buckets.
    """
    counted = list(_counted(situation))
    prefilled = [requests.recent for requests in counted]
    decoded = [requests.recent_decoding for requests in counted]
    return {
        **{(b, Work.PREFILL): share for b, share in _shares(prefilled, JUDGED, ()).items()},
        **{(b, Work.DECODE): share for b, share in _shares(decoded, JUDGED, prefilled).items()},
    }


def _counted(situation: Situation) -> Iterator[Requests]:
    """Yield what engines count that measure for this try, or did."""
    for pod in situation.snapshot.observation.pods:
        if pod.state is not None and pod.state.identity.revision == situation.status.revision:
            yield pod.state.requests


def _shares(
    weights: Sequence[Sequence[float]], buckets: Sequence[int], of: Sequence[Sequence[float]]
) -> dict[int, float]:
    """Return each bucket's share of the weight of `of` in all of these buckets; by default of its own."""
    total = sum(weight[b] for weight in of or weights for b in buckets)
    found = {b: sum(weight[b] for weight in weights) for b in buckets}
    return {b: weight / total for b, weight in found.items() if weight > 0} if total > 0 else {}

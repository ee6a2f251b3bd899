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
    return _shares([requests.recent for requests in _counted(situation)], buckets, weight(situation, buckets))


def weight(situation: Situation, buckets: Sequence[int]) -> float:
    """Return how many of users' requests are in these buckets, the older the lighter."""
    return sum(requests.recent[b] for requests in _counted(situation) for b in buckets)


def shares_of_work(situation: Situation) -> dict[tuple[int, Work], float]:
    """Return the share of users' requests in each judged bucket that are prefilled, so all of them, and of
    those that decode; of the requests in all judged buckets.
    """
    counted, total = list(_counted(situation)), weight(situation, JUDGED)
    weights = {
        Work.PREFILL: [requests.recent for requests in counted],
        Work.DECODE: [requests.recent_decoding for requests in counted],
    }
    return {(b, work): share for work in Work for b, share in _shares(weights[work], JUDGED, total).items()}


def _counted(situation: Situation) -> Iterator[Requests]:
    """Yield what engines count that measure for this try, or did."""
    for pod in situation.snapshot.observation.pods:
        if pod.state is not None and pod.state.identity.revision == situation.status.revision:
            yield pod.state.requests


def _shares(weights: Sequence[Sequence[float]], buckets: Sequence[int], total: float) -> dict[int, float]:
    """Return what each bucket's weight, of all engines together, is of a total; without empty ones."""
    found = {b: sum(weight[b] for weight in weights) for b in buckets}
    return {b: weight / total for b, weight in found.items() if weight > 0}

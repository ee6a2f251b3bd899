"""Tells how long the users' contexts are of late, and what they cost an indexer: what probes are drawn by,
and how far reuse must reach.

Engines count that themselves, from the beginning of what they measure for this try on, the older requests the
lighter (Requests.recent in the contract). So it is the same to an operator that has just begun.
"""

from collections.abc import Iterator, Sequence

from indexcache_core.contexts import CONTEXT_ENDS_IN_K
from indexcache_core.contract import Requests

from indexcache_operator.plan.facts.situation import Situation

BUCKETS = len(CONTEXT_ENDS_IN_K) + 1


def shares(situation: Situation, buckets: Sequence[int]) -> dict[int, float]:
    """Return the share of users' requests in each of these buckets of context length, of those in all of
    them; empty without any.
    """
    total = weight(situation, buckets)
    found = {b: weight(situation, [b]) for b in buckets}
    return {b: each / total for b, each in found.items() if each > 0}


def weight(situation: Situation, buckets: Sequence[int]) -> float:
    """Return how many of users' requests are in these buckets, the older the lighter."""
    return sum(requests.recent[b] for requests in _counted(situation) for b in buckets)


def work(situation: Situation) -> tuple[float, ...]:
    """Return what an indexer scores, all Full, for the requests that ended of late, by bucket."""
    counted = [requests.recent_work for requests in _counted(situation)]
    return tuple(sum(weights[b] for weights in counted) for b in range(BUCKETS))


def decoding(situation: Situation) -> frozenset[int]:
    """Return the buckets of the prompts of which users' requests decode."""
    counted = [requests.recent_decoding for requests in _counted(situation)]
    return frozenset(b for b in range(BUCKETS) if any(weights[b] > 0 for weights in counted))


def _counted(situation: Situation) -> Iterator[Requests]:
    """Yield what engines count that measure for this try, or did."""
    for pod in situation.snapshot.observation.pods:
        if pod.state is not None and pod.state.identity.revision == situation.status.revision:
            yield pod.state.requests

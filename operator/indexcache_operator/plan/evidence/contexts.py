"""Tells how long the users' contexts are of late, by the engines' counters: what probes are drawn by, and
which certificates are wanted.

Counting begins with the revision's try, so that what users asked before it says nothing of it, and forgets:
HALF requests halve the weight of what came before them, so a traffic that drifts is followed.
"""

from collections.abc import Sequence
from dataclasses import replace

from indexcache_core.contexts import CONTEXT_ENDS_IN_K

from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Situation

HALF = 200.0
BUCKETS = len(CONTEXT_ENDS_IN_K) + 1


def observe(situation: Situation) -> Memory:
    """Return the memory with the requests admitted since the last look; the first look of a try only begins
    the count.
    """
    snapshot, memory = situation.snapshot, situation.memory
    now = {
        (p.name, p.state.incarnation): p.state.requests.contexts
        for p in snapshot.observation.pods
        if p.state is not None
    }
    before = memory.context_counts
    if before is None:
        return replace(memory, context_counts=now)
    none = (0,) * BUCKETS
    new = [
        sum(max(counts[i] - before.get(life, none)[i], 0) for life, counts in now.items())
        for i in range(BUCKETS)
    ]
    kept = 0.5 ** (sum(new) / HALF)
    contexts = tuple(old * kept + n for old, n in zip(memory.contexts or none, new, strict=True))
    return replace(memory, context_counts={**before, **now}, contexts=contexts)


def shares(memory: Memory, buckets: Sequence[int]) -> dict[int, float]:
    """Return the share of users' requests in each of these buckets of context length, of those in all of
    them; empty without any.
    """
    total = sum(memory.contexts[b] for b in buckets) if memory.contexts else 0.0
    return {b: memory.contexts[b] / total for b in buckets if memory.contexts[b] > 0} if total else {}

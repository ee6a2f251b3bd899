"""Tells how far reuse reaches: of each pod, of a status, and by what certificates say now.

A reach is a length of context in tokens. It is the end of a bucket of context length, at least that of the
last bucket that isn't judged, or UNBOUNDED. What was granted stays in the status, so that a pod that dies
with its counters, or an operator that begins anew, takes nothing back.
"""

from dataclasses import dataclass

from indexcache_core.bounds import CONTEXT_TOKENS
from indexcache_core.contexts import JUDGED, JUDGED_FROM, context_end

from indexcache_operator.api.status import CapStatus, Phase, ReachStatus, Status

UNEXPOSED = (Phase.PENDING, Phase.CHECKING, Phase.SHADOWING)
"""Phases before any pod of a try is under reuse."""
EVERYWHERE = (Phase.PROMOTING, Phase.PROMOTED)
"""Phases in which all pods are, or are about to be."""
EXPOSED = (Phase.CANARY, *EVERYWHERE)
"""Phases in which pods are granted a reach, and there is reuse to take back."""
UNBOUNDED = int(CONTEXT_TOKENS.most)
"""A reach without a bound."""
_EXACT = 1e-9
"""By how much sums of shares may miss what they are."""


def end(bucket: int, k: int) -> int:
    """Return the reach that ends with a bucket."""
    found = context_end(bucket, k)
    return UNBOUNDED if found is None else found


def least(k: int) -> int:
    """Return the reach of which no certificate is asked: the end of the last bucket that isn't judged."""
    return end(JUDGED_FROM - 1, k)


def within(bucket: int | None, tokens: int, k: int | None) -> bool:
    """Return whether a reach holds a bucket. One that speaks of all contexts (None) always counts as held;
    while k isn't known, so does any once something was granted.
    """
    if bucket is None or tokens >= UNBOUNDED:
        return True
    return tokens > 0 and (k is None or end(bucket, k) <= tokens)


def said(tokens: int) -> int | None:
    """Return a reach as engines are told it: None without a bound."""
    return None if tokens >= UNBOUNDED else tokens


def granted(status: Status) -> int:
    """Return the farthest reach that any pod was granted; 0 where nothing was.

    What an earlier release promoted, which knew of no reach, has none.
    """
    if status.reach is None:
        return UNBOUNDED if status.phase in EVERYWHERE else 0
    return max(status.reach.tokens, status.reach.canary_tokens)


def decided(reach: ReachStatus | None) -> tuple[int, int, str, CapStatus | None]:
    """Return what of a reach was decided, without the figures that are shown with it."""
    kept = reach or ReachStatus()
    return kept.tokens, kept.canary_tokens, kept.ahead, kept.cap


def of_pod(status: Status, pod: str) -> int:
    """Return the reach that a pod has where it is under reuse."""
    if status.reach is None:
        return UNBOUNDED
    ahead = pod in status.canary_pods or pod == status.reach.ahead
    return status.reach.canary_tokens if ahead else status.reach.tokens


@dataclass(frozen=True, kw_only=True)
class Reaches:
    """Says how far certificates reach now, with what was granted before, and which share of the indexers'
    work that is.
    """

    shadow: int = 0
    """By what was measured in shadow, or granted to the canary's pods."""
    reuse: int = 0
    """By what was measured under reuse, or granted to all pods."""
    work: tuple[float, ...] = ()
    """What an indexer scores of late, all Full, by bucket of context length."""
    k: int | None = None
    min_share: float = 1.0

    def share(self, tokens: int) -> float | None:
        """Return the share of the work within a reach; None while no request has ended."""
        if self.k is None or not sum(self.work):
            return None
        held = [work for bucket, work in enumerate(self.work) if within(bucket, tokens, self.k)]
        return sum(held) / sum(self.work)

    def enough(self, tokens: int) -> bool:
        """Tell whether a reach holds what spec.strategy.reach.minShare asks for, and something judged."""
        share = self.share(tokens)
        return (
            self.k is not None
            and tokens > least(self.k)
            and share is not None
            and share >= self.min_share - _EXACT
        )

    def needed(self) -> int:
        """Return the last bucket whose certificates are needed to go on; the first judged one at least."""
        ends = (bucket for bucket in JUDGED if self.k and self.enough(end(bucket, self.k)))
        return next(ends, JUDGED_FROM)

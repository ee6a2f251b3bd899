"""Draws probes at random, with replacement: so answers are observations of one distribution, in whatever
order the file has them, and however often it is gone through.

A draw is weighted by how long the traffic's contexts are. It depends on the revision, its number and those
weights alone: whoever starts again goes on where another stopped, and nobody can choose what is asked.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate

from indexcache_core.contexts import context_bucket
from indexcache_core.digest import digest

from indexcache_operator.model import Probe
from indexcache_operator.plan.facts import reach

_DIGITS = 13  # 52 bits, what a float holds


def uniform(revision: str, number: int, what: str) -> float:
    """Return a number in [0, 1) that nothing but these decides."""
    return float(int(digest([revision, number, what], _DIGITS), 16) / 16**_DIGITS)


def eligible(probes: Sequence[Probe], k: int, floor: int, reach_tokens: int = reach.UNBOUNDED) -> list[Probe]:
    """Return the probes that reuse can change: of more than k tokens, no less than minContextTokens, and
    within the reach.
    """
    return [p for p in probes if p.context_tokens > k and floor <= p.context_tokens <= reach_tokens]


def draw(
    probes: Sequence[Probe], shares: Mapping[int, float], k: int, revision: str, number: int
) -> Probe | None:
    """Return the probe of this number; None without any.

    `shares`: of the traffic by bucket of context length; buckets without probes are left out. Where it has
    none of those with probes, all buckets weigh the same.
    """
    by_bucket: dict[int, list[Probe]] = {}
    for probe in sorted(probes, key=_place):
        by_bucket.setdefault(context_bucket(probe.context_tokens, k), []).append(probe)
    weights = {b: shares[b] for b in sorted(by_bucket) if shares.get(b)} or dict.fromkeys(
        sorted(by_bucket), 1.0
    )
    if not weights:
        return None
    mark = uniform(revision, number, "context") * sum(weights.values())
    reached = zip(weights, accumulate(weights.values()), strict=True)
    found = next((b for b, total in reached if mark < total), max(weights))
    choice = by_bucket[found]
    return choice[int(uniform(revision, number, "probe") * len(choice))]


def _place(probe: Probe) -> tuple[int, str]:
    """Return what probes are ordered by, whatever their order in the file."""
    return probe.context_tokens, digest([probe.prompt, probe.continuation], 16)

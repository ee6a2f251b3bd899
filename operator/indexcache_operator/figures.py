"""Tells the metrics what a plan says of the evidence, so that alert rules can rest on what is proven, and of
the reach.

Each value of evidence names the rollout's uid and revision: an alert that fires is bound to what it speaks
of.
"""

from collections.abc import Iterator

from indexcache_operator.metrics import LOG_EVIDENCE, LOG_LIMIT, LOWER_BOUND, REACH, REACH_SHARE, Held
from indexcache_operator.model import Observation, Plan

Value = tuple[Held, tuple[str, ...], float]


def values(seen: Observation, plan: Plan[object]) -> Iterator[Value]:
    """Yield the values of a look's evidence."""
    who = (seen.namespace, seen.name, seen.uid, plan.status.revision)
    for evidence in plan.evidence:
        labels = (*who, evidence.guardrail)
        yield LOG_EVIDENCE, labels, evidence.log_e
        yield LOG_LIMIT, labels, evidence.log_limit
    bounds: dict[str, float] = {}
    for row in plan.status.evidence if plan.evidence else ():
        if row.lower_bound is not None:
            bounds[row.guardrail] = min(bounds.get(row.guardrail, row.lower_bound), row.lower_bound)
    for guardrail, bound in bounds.items():
        yield LOWER_BOUND, (*who, guardrail), bound
    yield from _reach(seen, plan)


def _reach(seen: Observation, plan: Plan[object]) -> Iterator[Value]:
    reach, who = plan.status.reach, (seen.namespace, seen.name)
    if reach is None or not reach.canary_tokens:
        return
    yield REACH, (*who, "all"), reach.tokens
    yield REACH, (*who, "canary"), reach.canary_tokens
    if reach.share is not None:
        yield REACH_SHARE, who, reach.share

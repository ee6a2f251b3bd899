"""Tells how long a rollout at rest can wait: for its next look, and for its next plan where a look sees
nothing new.

Both are for an operator with many rollouts. What is in motion can't wait at all. At rest a look renews
permits and takes up what engines measured; in between an engine's own breaker judges, four times a second. A
plan depends on time as well: permits are renewed, figures are written after a while, and evidence gets old.
"""

from collections.abc import Iterator
from datetime import timedelta

from indexcache_operator.api.status import AT_REST
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import pod_status
from indexcache_operator.plan.report.conditions import FRESH
from indexcache_operator.plan.report.publishing import EVERY_WHEN_PROMOTED
from indexcache_operator.plan.wanted import flags

LATEST = timedelta(seconds=40)
"""Between two looks at most. An alert of the chart fires where none has succeeded for 90 s."""
AT_LEAST = timedelta(minutes=15)
"""Between two plans at most, each of the whole states of engines: what is due earlier is planned earlier."""


def latest(situation: Situation, next_look: timedelta) -> timedelta:
    """Return how long the next look can wait at most; not longer than it would anyway where it can't."""
    if situation.status.phase not in AT_REST:
        return next_look
    permits = [p.permit for p in situation.status.pods if p.permit > timedelta()]
    return max(min([LATEST, *(flags.RENEW_BELOW * permit / flags.TRIES for permit in permits)]), next_look)


def unchanged_for(situation: Situation) -> timedelta:
    """Return for how long the same plan would follow from looks that see nothing but time pass; nothing where
    that isn't known.
    """
    spec = situation.snapshot.observation.spec
    if situation.status.phase not in AT_REST or spec is None or spec.guardrails.quality is not None:
        return timedelta()
    return max(min([AT_LEAST, *_due(situation)]), timedelta())


def _due(situation: Situation) -> Iterator[timedelta]:
    """Yield in how long something is due."""
    snapshot, memory = situation.snapshot, situation.memory
    for pod in snapshot.observation.pods:
        kept = pod_status(situation.status, pod.name)
        if pod.state is None or not pod.ready:
            yield timedelta()  # whether it comes back, only a look tells
        elif flags.kind_of(kept) in flags.REUSING:
            remaining = timedelta(seconds=pod.state.permit_remaining_seconds or 0.0)
            yield remaining - flags.RENEW_BELOW * kept.permit
    if memory.data_at is not None and (age := snapshot.since(memory.data_at)) <= FRESH:
        yield FRESH - age
    written, came = memory.published_at, memory.data_at
    if written is not None and came is not None and came >= written:
        yield EVERY_WHEN_PROMOTED - snapshot.since(written)

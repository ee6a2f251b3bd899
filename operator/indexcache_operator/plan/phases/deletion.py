"""Deletion: reuse off on all pods, then the route as it was, then our objects gone or released, then the
finalizer.

It can't wait for ever: an engine that stays silent counts as off once its permit has lapsed (with policy
Delete after PATIENCE, as its pod goes anyway), and a route that no gateway accepts is left as written after
PATIENCE.
"""

from datetime import timedelta

from indexcache_operator.api.spec import DeletionPolicy
from indexcache_operator.model import Action, DeleteWorkload, ReleaseWorkload, RemoveFinalizer
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.phases.fallback import at_baseline
from indexcache_operator.plan.wanted.withdrawal import canary_released, restored

PATIENCE = timedelta(seconds=60)


def retained(situation: Situation) -> bool:
    """Return whether the engines stay. A spec that can't be read destroys nothing."""
    spec = situation.snapshot.observation.spec
    return spec is None or spec.deletion_policy is DeletionPolicy.RETAIN


def actions(situation: Situation) -> list[Action]:
    """Return what is left to do once all is back; nothing before."""
    snapshot, status = situation.snapshot, situation.status
    waited = snapshot.since(status.fallback.since if status.fallback else status.phase_started_at)
    impatient = waited >= PATIENCE
    silent = {p.name for p in snapshot.pods if p.state is None}
    waiting = [
        w
        for w in at_baseline(situation)
        if not (impatient and not retained(situation) and w.split(" ")[0] in silent)
    ]
    if waiting:
        return []
    if not (restored(situation) and canary_released(snapshot)) and not impatient:
        return []
    return [ReleaseWorkload() if retained(situation) else DeleteWorkload(), RemoveFinalizer()]

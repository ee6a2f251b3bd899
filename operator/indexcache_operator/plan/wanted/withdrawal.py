"""The way back of labels and route, after a fallback as after a promotion: baseline label on, the route as it
was, canary label off.

Each waits only for what keeps its Service from being empty: the route for a ready pod behind the baseline's
Service, the canary's label for the sign that no gateway sends there any more. That sign is the engines'
counters; where traffic is too little for them to tell, a while after the route was accepted without a sign to
the contrary. Once the canary's labels are off, nothing more is waited for: all pods stand behind the
baseline's Service then, the counters would tell the two apart only after many more requests, and nobody would
act on it.
"""

from datetime import timedelta

from indexcache_core.evidence.traffic import Reached

from indexcache_operator.api.status import Backend
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import Snapshot, route_accepted, route_has_canary
from indexcache_operator.plan.wanted import route

QUIET, FEW_REQUESTS = timedelta(seconds=10), 30
"""So long with so few requests, and nothing more will be learnt soon."""
LONG = timedelta(seconds=60)
"""So long with any number of them."""


def restored(situation: Situation) -> bool:
    """Return whether the user's rule is as it was, and accepted; a rule that is gone can't be restored."""
    snapshot, status = situation.snapshot, situation.status
    if status.route is None or snapshot.observation.route is None or not snapshot.observation.route.found:
        return True
    return tuple(snapshot.observation.route.backends) == tuple(
        status.route.original_backends
    ) and route_accepted(snapshot)


def canary_released(snapshot: Snapshot) -> bool:
    """Return whether no pod stands behind the canary's Service."""
    return not any(p.canary_label for p in snapshot.pods)


def canary_service_drained(situation: Situation) -> bool:
    """Return whether nothing shows traffic through the canary's Service, long enough or certainly enough."""
    status = situation.status
    if (
        status.route is None
        or situation.snapshot.observation.route is None
        or not situation.snapshot.observation.route.found
    ):
        return True
    if not restored(situation):
        return False
    if situation.seen.reached is Reached.NO:
        return False
    little = situation.seen.requests < FEW_REQUESTS and not situation.seen.blind
    quiet = situation.seen.counted_for >= (QUIET if little else LONG)
    return situation.seen.reached is Reached.YES or quiet


def returning_labels(situation: Situation) -> dict[str, tuple[bool, bool]]:
    """Return the labels that lead back: all behind the baseline's Service, out of the canary's once it is
    drained.

    One pod of the canary stays out of the baseline's Service until then, if others are there: what reaches it
    comes through the canary's, so its counter tells soon and for certain whether anything still does.
    """
    release = not route_has_canary(situation.snapshot) and canary_service_drained(situation)
    witness = None if release else sentinel(situation.snapshot)
    return {p.name: (p.name != witness, p.canary_label and not release) for p in situation.snapshot.pods}


def sentinel(snapshot: Snapshot) -> str | None:
    """Return the pod that is last to come back.

    There is none where it is needed behind the baseline's Service, or none stands behind the canary's alone.
    """
    alone = [
        p.name for p in snapshot.ready if p.canary_label and not p.baseline_label and p.state is not None
    ]
    others = [p for p in snapshot.ready if p.baseline_label]
    return alone[-1] if alone and others else None


def returning_backends(situation: Situation) -> tuple[Backend, ...] | None:
    """Return the rule as it was, as soon as a ready pod stands behind the baseline's Service, or none behind
    the canary's either.
    """
    behind_baseline = any(p.baseline_label for p in situation.snapshot.ready)
    behind_canary = any(p.canary_label for p in situation.snapshot.ready)
    return route.backends(situation, 0) if behind_baseline or not behind_canary else None

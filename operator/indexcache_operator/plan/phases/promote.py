"""Promoting and Promoted: reuse on every pod, all behind the baseline's Service, the route as the user had
it; the tests go on.
"""

from dataclasses import replace

from indexcache_core.contract import Mode

from indexcache_operator.api.status import Phase, Status
from indexcache_operator.plan.facts import reach
from indexcache_operator.plan.facts.guardrails import certainty, guarded
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.phases.entering import enter, remember, weighted
from indexcache_operator.plan.wanted import flags, route
from indexcache_operator.plan.wanted.labels import entering_labels
from indexcache_operator.plan.wanted.targets import Targets
from indexcache_operator.plan.wanted.withdrawal import canary_released, restored, returning_labels


def decide(situation: Situation) -> Status:
    """Lead from Promoting to Promoting or Promoted."""
    snapshot, status = situation.snapshot, situation.status
    off = [
        p.name
        for p in snapshot.ready
        if p.state is None or p.state.mode is not Mode.ON or not flags.settled(situation, p)
    ]
    alive = any(p.canary_label for p in snapshot.ready if p.name in status.canary_pods)
    if (not off or not alive) and status.traffic.desired:
        status = replace(status, traffic=weighted(status.traffic, 0))
        situation = replace(situation, status=status)
    if off or not snapshot.ready or not restored(situation) or not canary_released(snapshot):
        return replace(status, message=_under_way(situation, off))
    history = remember(situation, "Promoted", certainty(snapshot.spec))
    promoted = enter(situation, Phase.PROMOTED, _watched(situation))
    return replace(promoted, canary_pods=(), route=None, history=history)


def _under_way(situation: Situation, off: list[str]) -> str:
    """Return what the promotion waits for; `off`: pods that aren't under reuse yet."""
    ready = situation.snapshot.ready
    if not off:
        return "Restoring the route"
    message = f"Turning reuse on: {len(ready) - len(off)} of {len(ready)} engines"
    deaf = [p.name for p in ready if not flags.knows_reach(p, reach.of_pod(situation.status, p.name))]
    if deaf:
        message += (
            f". The plugin in {', '.join(deaf)} can't be told how far reuse may reach; set "
            "spec.engine.runtime to this release's"
        )
    return message


def _watched(situation: Situation) -> str:
    if guarded(situation.snapshot.spec):
        return "Reuse runs on every pod; watched on"
    return "Reuse runs on every pod, unguarded: nothing but alerts, quality probes and kills ends it"


def watch(situation: Situation) -> Status:
    """Stay in Promoted: what ends it is a trigger."""
    return situation.status


def promoting_targets(situation: Situation) -> Targets:
    """Want reuse everywhere first; when all confirm, everybody behind the baseline's Service; then the route,
    then the canary's label.
    """
    snapshot, status = situation.snapshot, situation.status
    kinds = {p.name: flags.ON_CANARY_PERMIT for p in snapshot.pods}
    if status.traffic.desired:  # not all confirmed yet
        return Targets(kinds=kinds, labels=entering_labels(situation), backends=None)
    labels, backends = returning_labels(situation), route.backends(situation, 0)
    behind = any(p.baseline_label for p in snapshot.ready)
    return Targets(kinds=kinds, labels=labels, backends=backends if behind else None)


def promoted_targets(situation: Situation) -> Targets:
    """Want reuse on every pod, new ones included."""
    return Targets(
        kinds={p.name: flags.ON_PROMOTED_PERMIT for p in situation.snapshot.pods},
        labels={p.name: (True, False) for p in situation.snapshot.pods},
    )

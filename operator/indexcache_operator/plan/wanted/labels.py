"""Decides which Services each pod stands behind while a canary runs.

At no time is a Service without a ready pod while the route names it, as far as there are ready pods.
"""

from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import route_has_canary
from indexcache_operator.plan.wanted.confirmation import confirmed


def entering_labels(situation: Situation) -> dict[str, tuple[bool, bool]]:
    """Return the labels of all pods while a canary runs. Without a route the canary's pods stay behind the
    baseline's Service.
    """
    snapshot, status = situation.snapshot, situation.status
    out: dict[str, tuple[bool, bool]] = {}
    staying = [p for p in snapshot.ready if p.name not in status.canary_pods and p.baseline_label]
    for pod in snapshot.pods:
        # A pod leaves the canary's Service only when another is there, or the route names it no more.
        alone = route_has_canary(snapshot) and not any(
            p.canary_label and p.ready and p.name != pod.name
            for p in snapshot.pods
            if p.name in status.canary_pods
        )
        if pod.name not in status.canary_pods:
            out[pod.name] = (True, pod.canary_label and alone)
        elif not snapshot.routed:
            out[pod.name] = (True, True)
        else:
            out[pod.name] = (not staying, confirmed(situation, pod) or (pod.canary_label and alone))
    return out

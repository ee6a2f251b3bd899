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
    staying = [p for p in snapshot.ready if p.name not in status.canary_pods and p.baseline_label]
    remain = _remaining(situation)
    out: dict[str, tuple[bool, bool]] = {}
    for pod in snapshot.pods:
        # A pod leaves the canary's Service only when another remains there, or the route names it no more.
        alone = route_has_canary(snapshot) and not remain - {pod.name}
        if pod.name not in status.canary_pods:
            out[pod.name] = (True, pod.canary_label and alone)
        elif not snapshot.routed:
            out[pod.name] = (True, True)
        else:
            out[pod.name] = (not staying, confirmed(situation, pod) or (pod.canary_label and alone))
    return out


def _remaining(situation: Situation) -> set[str]:
    """Return the canary's pods that remain behind its Service: those that are confirmed, or the last one.

    None may count on another that leaves as well, as two do whose permits lapsed in one absence.
    """
    chosen = situation.status.canary_pods
    behind = [p for p in situation.snapshot.ready if p.canary_label and p.name in chosen]
    return {p.name for p in behind if confirmed(situation, p)} or {p.name for p in behind[-1:]}

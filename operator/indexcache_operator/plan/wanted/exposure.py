"""Decides who is exposed, and in which order: pods, their labels, and the route between them.

On the way in: baseline label off, the pod drains (traffic/draining.py), flags on, the engine confirms, canary
label on, the canary's backend into the route. So nobody meets reuse but through the canary's Service, and a
gateway whose proxies know nothing of the change is found out before a weight is given. At no time is a
Service without a ready pod while the route names it, as far as there are ready pods.
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta

from indexcache_core.contract import Mode

from indexcache_operator.api.status import Backend, RouteStatus, Status
from indexcache_operator.model import EnginePod, PatchRoute, SetLabels
from indexcache_operator.plan.facts import weights
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import Snapshot, pod_status, route_has_canary
from indexcache_operator.plan.wanted import flags


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Says what should be, for the parts that actions can move. Labels and route are set only as far as their
    order allows in this look.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    """Kind of flags by pod (flags.py); a pod not named is off."""
    labels: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    """Baseline, canary."""
    backends: tuple[Backend, ...] | None = None
    """Of the user's rule; None leaves it alone."""


def canary_count(weight: int, replicas: int, routed: bool) -> int:
    """Return how many of the pods are exposed for a weight: its share, at least one, and with a route one is
    left for the baseline.
    """
    most = replicas - 1 if routed else replicas
    return max(1, min(most, int(replicas * weight / 100 + 0.5)))


def choose(situation: Situation, count: int) -> tuple[str, ...]:
    """Return the canary's pods: those chosen before that still exist, then ready ones in order of name.

    One ready pod stays at the baseline. Where pods were lost so that none would stay, the last chosen are
    given back.
    """
    snapshot = situation.snapshot
    present = {p.name: p for p in snapshot.pods}
    chosen = [name for name in situation.status.canary_pods if name in present]
    others = sorted(
        p.name for p in snapshot.ready if p.name not in chosen and p.current and p.state is not None
    )
    spare = 1 if snapshot.routed else 0
    while len(chosen) < count and len(others) > spare:
        chosen.append(others.pop(0))
    while chosen and spare and not others and not any(p.name not in chosen for p in snapshot.ready):
        chosen.pop()
    return tuple(chosen)


def may_reuse(situation: Situation, pod: EnginePod) -> bool:
    """Return whether a pod of the canary may turn reuse on: no user comes to it through the baseline's
    Service any more.
    """
    if not situation.snapshot.routed:
        return True
    if pod.state is None:
        return last_word(situation, pod)
    if (pod.name, pod.state.incarnation) in situation.memory.drained_pods:
        return True
    return pod_status(situation.status, pod.name).confirmed == pod.state.incarnation


def note_permits(situation: Situation) -> Memory:
    """Return the memory with until when each engine's last word holds."""
    snapshot, memory = situation.snapshot, situation.memory
    if snapshot.observation.spec is None:
        return memory
    permits = dict(memory.permits)
    for pod in snapshot.observation.pods:
        if pod.state is None:
            continue
        permits = {life: ends for life, ends in permits.items() if life[0] != pod.name}
        remaining = pod.state.permit_remaining_seconds
        if remaining is not None and pod.state.mode is Mode.ON and flags.settled(situation, pod):
            permits[pod.name, pod.state.incarnation] = snapshot.now + timedelta(seconds=remaining)
    return replace(memory, permits=permits)


def last_word(situation: Situation, pod: EnginePod) -> bool:
    """Return whether an engine that can't be asked, as happens to a busy one, is taken to do what it last
    said.

    It is while its permit lasts, as it can't go on for longer. Weights would swing otherwise.
    """
    ends = situation.memory.permits.get((pod.name, pod_status(situation.status, pod.name).confirmed))
    return ends is not None and ends > situation.snapshot.now


def confirmed(situation: Situation, pod: EnginePod) -> bool:
    """Return whether a pod of the canary may take traffic: ready, reuse confirmed by the engine, a first
    probe answered where there are.
    """
    if not pod.ready:
        return False
    if pod.state is None:
        return last_word(situation, pod)
    if not flags.settled(situation, pod) or pod.state.mode is not Mode.ON:
        return False
    if pod_status(situation.status, pod.name).confirmed == pod.state.incarnation:
        return True
    unasked = situation.snapshot.spec.guardrails.quality is None
    answered = unasked or (pod.name, pod.state.incarnation) in situation.memory.answered
    return answered and may_reuse(situation, pod)


def confirm(situation: Situation) -> Status:
    """Return the status with who is confirmed in this incarnation, so that a restart of the operator
    withdraws nobody.
    """
    snapshot, status = situation.snapshot, situation.status
    pods = []
    for kept in status.pods:
        pod = next((p for p in snapshot.observation.pods if p.name == kept.name), None)
        if (
            kept.name in status.canary_pods
            and pod is not None
            and pod.state is not None
            and confirmed(situation, pod)
        ):
            kept = replace(kept, confirmed=pod.state.incarnation)
        pods.append(kept)
    return replace(status, pods=tuple(pods))


def justified(situation: Situation, weight: int, count: int) -> int:
    """Return the weight that the confirmed pods of the canary justify: all of it with all of them, none with
    none.
    """
    snapshot, status = situation.snapshot, situation.status
    pods = [
        p for p in snapshot.pods if p.name in status.canary_pods and (p.canary_label or not snapshot.routed)
    ]
    good = sum(confirmed(situation, p) for p in pods)
    return 0 if not good else weight if good >= count else max(1, weight * good // count)


def adopt_route(situation: Situation) -> Status:
    """Return the status with the user's backends as they are without the canary.

    A list that somebody put back meanwhile is the original now.
    """
    snapshot, status = situation.snapshot, situation.status
    route, spec = snapshot.observation.route, snapshot.observation.spec
    if (
        route is None
        or not route.found
        or route_has_canary(snapshot)
        or spec is None
        or spec.traffic.http_route is None
    ):
        return status
    if not weights.names(route.backends, snapshot.baseline_service, snapshot.observation.namespace):
        return status
    where = spec.traffic.http_route
    kept = RouteStatus(name=where.name, rule=where.rule, original_backends=tuple(route.backends))
    return replace(status, route=kept)


def backends(situation: Situation, weight: int) -> tuple[Backend, ...] | None:
    """Return the rule's backends for a weight; None without a route, or where what is kept of it has no
    baseline to split.
    """
    snapshot, route = situation.snapshot, situation.status.route
    if route is None:
        return None
    namespace = snapshot.observation.namespace
    if weight > 0 and not weights.names(route.original_backends, snapshot.baseline_service, namespace):
        return None  # written by an operator that took a Service of another namespace for the rollout's
    return weights.weighted(
        route.original_backends, snapshot.baseline_service, snapshot.canary_service, weight, namespace
    )


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


def label_actions(snapshot: Snapshot, targets: Targets) -> list[SetLabels]:
    """Return the labels that differ."""
    return [
        SetLabels(pod=p.name, baseline=targets.labels[p.name][0], canary=targets.labels[p.name][1])
        for p in snapshot.pods
        if p.name in targets.labels and targets.labels[p.name] != (p.baseline_label, p.canary_label)
    ]


def route_actions(situation: Situation, targets: Targets) -> list[PatchRoute]:
    """Return the change of the route if its backends differ and the rule is there."""
    route, kept = situation.snapshot.observation.route, situation.status.route
    if (
        targets.backends is None
        or route is None
        or not route.found
        or route.unread
        or route.rule_index is None
        or kept is None
    ):
        return []
    if tuple(route.backends) == tuple(targets.backends):
        return []
    return [
        PatchRoute(
            rule_index=route.rule_index,
            rule=kept.rule,
            backends=targets.backends,
            resource_version=route.resource_version,
        )
    ]

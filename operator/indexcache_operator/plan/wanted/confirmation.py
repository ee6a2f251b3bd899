"""Decides which pods of the canary may turn reuse on, which are confirmed and may take traffic, and what
weight that justifies.

On the way in: baseline label off, the pod drains (traffic/draining.py), flags on, the engine confirms, canary
label on (labels.py), the canary's backend into the route (route.py). So nobody meets reuse but through the
canary's Service, and a gateway whose proxies don't know of the change is found out before a weight is given.
"""

from dataclasses import replace
from datetime import timedelta

from indexcache_operator.api.status import Status
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import pod_status
from indexcache_operator.plan.wanted import flags


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
        if remaining is not None and flags.reusing(situation, pod):
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
    """Return whether a pod of the canary may take traffic: ready, reuse confirmed by the engine, and nothing
    against it by probes where there are any.
    """
    if not pod.ready:
        return False
    if pod.state is None:
        return last_word(situation, pod)
    if not flags.reusing(situation, pod):
        return False
    if pod_status(situation.status, pod.name).confirmed == pod.state.incarnation:
        return True
    return _probed(situation, pod) and may_reuse(situation, pod)


def _probed(situation: Situation, pod: EnginePod) -> bool:
    """Return whether probes found nothing against sending users to a pod: it answered one, and where a route
    keeps users from it until then, those that act are certified.
    """
    if situation.snapshot.spec.guardrails.quality is None:
        return True
    life = (pod.name, pod.state.incarnation) if pod.state is not None else None
    return life in situation.memory.answered and (
        not situation.snapshot.routed or situation.evidence.probed()
    )


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

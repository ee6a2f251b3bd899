"""Tells when a pod that left the baseline's Service gets no requests any more, by its own counter.

A label is taken off at once; proxies learn of it a moment later, and a gateway that is cut off from them
never tells. A pod counts as drained by three things together:
* None of so many requests came to the pod as would have brought one with certainty, but for a chance of
  DELTA, had it still had half of an even share. Half, as gateways don't draw lots: they spare who is slow.
  Counting begins anew with each request that comes, and the n-th beginning may spend DELTA / n (n + 1): so
  DELTA bounds the chance of ever being wrong, however long a gateway stays cut off. With no traffic nothing
  is ever known.
* Nothing runs on it. A counter moves when the engine schedules a request, and a long prefill holds up all
  that come after it, unseen.
* SETTLE has passed: a request may still be on its way to the engine's scheduler.

A request that comes to a drained pod while it is behind no Service shows that it isn't. After a restart of
the operator a pod of which the status wants reuse is known to have been drained: nothing else leads there.
"""

from dataclasses import replace
from datetime import timedelta

from indexcache_core.evidence.traffic import at_most, spent

from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts import requests
from indexcache_operator.plan.facts.memory import Life, Mark, Memory
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import Snapshot, pod_status, wants_on
from indexcache_operator.plan.traffic.arrival import HALF_EVEN

SETTLE = timedelta(seconds=2)


def observe(situation: Situation) -> Memory:
    """Return the memory with the pods of the canary that are drained; those that are behind the baseline's
    Service again are forgotten.
    """
    snapshot, status, memory = situation.snapshot, situation.status, situation.memory
    draining: dict[Life, Mark] = {}
    drained: set[Life] = set()
    for pod in snapshot.pods:
        if pod.name not in status.canary_pods or pod.baseline_label:
            continue
        if pod.state is None:  # its counter will tell when it answers again
            draining |= {life: mark for life, mark in memory.draining.items() if life[0] == pod.name}
            drained |= {life for life in memory.drained_pods if life[0] == pod.name}
            continue
        life = (pod.name, pod.state.incarnation)
        if pod.canary_label:
            drained |= memory.drained_pods & {life}
            continue
        before = memory.draining.get(life)
        draining[life], others, came = _count(snapshot, life, before)
        known = life in memory.drained_pods or (
            before is None and wants_on(pod_status(status, pod.name).desired)
        )
        if not came and (known or _drained(snapshot, pod, draining[life], others)):
            drained.add(life)
    return replace(memory, draining=draining, drained_pods=frozenset(drained))


def _count(snapshot: Snapshot, life: Life, mark: Mark | None) -> tuple[Mark, int, bool]:
    """Return the mark of a pod's last request, the requests that others got since, and whether one came to it
    just now.
    """
    if mark is None:
        return requests.begin(snapshot, "draining"), 0, False
    new, mark = requests.since(snapshot, mark)
    if new[life]:
        return requests.begin(snapshot, "draining", mark.number + 1), 0, True
    return mark, sum(new.values()), False


def _drained(snapshot: Snapshot, pod: EnginePod, mark: Mark, others: int) -> bool:
    idle = (
        pod.state is not None and pod.state.requests.running_baseline + pod.state.requests.running_reuse == 0
    )
    behind = any(p.baseline_label for p in snapshot.ready)
    enough = at_most(0, others, HALF_EVEN / max(len(snapshot.ready), 1)) <= spent(mark.number)
    return idle and behind and enough and snapshot.since(mark.since) >= SETTLE

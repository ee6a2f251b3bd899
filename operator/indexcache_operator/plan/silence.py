"""When a pod that left the baseline's Service gets no requests any more, by its own counter.

A label is taken off at once; proxies learn of it a moment later, and a gateway that is cut off from them never tells. What counts is
silence: none of so many requests came to the pod that, had it still had half of an even share of all pods, that would have had a chance of
DELTA at most. Half, because counting begins anew with each request that comes: a pod with its whole share never is silent for so long.
Where there is hardly any traffic, QUIET_SECONDS of silence are enough.
"""

from dataclasses import replace

from indexcache_core.evidence.traffic import DELTA, at_most

from indexcache_operator.api.status import Status
from indexcache_operator.plan import clock, traffic_view
from indexcache_operator.plan.look import Look
from indexcache_operator.plan.memory import Mark, Memory

QUIET_SECONDS, FEW_REQUESTS = 10.0, 10


def observe(look: Look, status: Status, memory: Memory) -> Memory:
    """Memory with the pods of the canary that fell silent; those that are behind a Service again are forgotten."""
    now = traffic_view.admitted(look)
    behind = any(p.baseline_label for p in look.ready)
    leaving: dict[tuple[str, str], Mark] = {}
    silent = set()
    for pod in look.pods:
        if pod.name not in status.canary_pods or pod.state is None or pod.baseline_label:
            continue
        life = (pod.name, pod.state.incarnation)
        if life in memory.silent:
            silent.add(life)
            continue
        if pod.canary_label:
            continue
        mark = memory.leaving.get(life)
        if mark is None or now[life] > mark.admitted.get(life, 0):
            mark = Mark(setting="leaving", since=clock.stamp(look.now), admitted=now)
        others = sum(max(n - mark.admitted.get(other, 0), 0) for other, n in now.items())
        enough = behind and at_most(0, others, 0.5 / max(len(look.ready), 1)) <= DELTA
        if enough or (others < FEW_REQUESTS and look.since(mark.since) >= QUIET_SECONDS):
            silent.add(life)
        else:
            leaving[life] = mark
    return replace(memory, leaving=leaving, silent=frozenset(silent))

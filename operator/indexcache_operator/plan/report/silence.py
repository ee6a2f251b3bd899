"""Tells which silent engines people aren't told of yet.

An engine misses a look where its machine is busy, and answers the next. Were each told, a thousand rollouts
would write theirs twice for every one of these. So a promoted rollout is told as it was, until a silence
lasts. That is for people alone: what is decided, renewed and measured rests on what engines say, and until
then a silent one is told as under reuse, as it counts in any case until its permit has lapsed.
"""

from dataclasses import replace
from datetime import timedelta

from indexcache_core.contract import Mode

from indexcache_operator.api.status import Phase
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import pod_status
from indexcache_operator.plan.wanted import flags

LASTS = timedelta(minutes=2)
"""A silence is told after so long: three looks at the slowest pace. Of a short permit after the time between
two tries to renew it: the second that fails is told, and a third is left.
"""


def note(situation: Situation) -> Memory:
    """Return the memory with since when each engine is silent."""
    snapshot, memory = situation.snapshot, situation.memory
    silent = {p.name: memory.silent.get(p.name, snapshot.now) for p in snapshot.observation.pods if p.silent}
    return replace(memory, silent=silent)


def untold(situation: Situation, pod: EnginePod) -> bool:
    """Return whether an engine of a promoted rollout is told as it was when it was last heard: under reuse,
    silent for a moment, on a pod that serves.
    """
    since, kept = situation.memory.silent.get(pod.name), pod_status(situation.status, pod.name)
    if (
        situation.status.phase is not Phase.PROMOTED
        or since is None
        or not pod.silent
        or not pod.ready
        or pod.deleting
        or kept.state != Mode.ON.value
    ):
        return False
    return situation.snapshot.since(since) < min(LASTS, flags.RENEW_BELOW * kept.permit / flags.TRIES)


def is_on(situation: Situation, pod: EnginePod) -> bool:
    """Return whether reuse is told to run on a pod."""
    if pod.state is None:
        return untold(situation, pod)
    return pod.state.mode is Mode.ON

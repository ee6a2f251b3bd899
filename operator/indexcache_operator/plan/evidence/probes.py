"""Chooses which pair of probes is asked next, of which pod, and when.

One pod is asked one pair at a time, with and without reuse. Pods under reuse come first; while there are
none, those in shadow are asked: a pair counts there if the pod is so idle that the probe has its steps to
itself, and nobody is exposed by it. Probes go on after the certificate and after the promotion: what was good
may drift.

How often follows from what pairs take (`quality.maxTimeShare`). One that doesn't count is followed by a pause
that doubles each time.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from indexcache_core.contract import Mode

from indexcache_operator.api.spec import Quality
from indexcache_operator.api.status import Phase
from indexcache_operator.model import EnginePod, RunProbes
from indexcache_operator.plan.evidence import contexts, draws
from indexcache_operator.plan.facts import reach
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.probing import Asked
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import pod_status

PHASES = frozenset({Phase.SHADOWING, Phase.CANARY, Phase.PROMOTED})
EASED = 5
"""By how much less is probed once probes are certified."""
IN_VAIN, MOST_IN_VAIN = timedelta(seconds=5), timedelta(minutes=10)
"""After the first pair that doesn't count, and after many in a row."""
AGAIN = timedelta(seconds=15)
"""After which a pair is asked for again of which nothing was heard: it may have been lost."""


def choose(situation: Situation) -> RunProbes | None:
    """Return the pair to ask now; None if there is nothing to ask, or nobody who may be asked."""
    snapshot, status, memory = situation.snapshot, situation.status, situation.memory
    seen, k = snapshot.observation, snapshot.k
    asked = seen.spec.guardrails.quality if seen.spec is not None else None
    if asked is None or status.phase not in PHASES or seen.probes is None or not k:
        return None
    if memory.probed_at is not None and snapshot.since(memory.probed_at) < AGAIN:
        return None
    number = memory.probing.asked
    probe = draws.draw(
        draws.eligible(
            seen.probes.probes,
            k,
            snapshot.spec.index_cache.min_context_tokens,
            # Answers beyond what is exposed, or about to be, say nothing of what users get.
            max(reach.granted(status), situation.evidence.reaches.shadow),
        ),
        contexts.shares(situation, range(contexts.BUCKETS)),
        k,
        status.revision,
        number,
    )
    pods = [pod for pod in candidates(situation) if due(situation, pod, asked) <= snapshot.now]
    if probe is None or not pods:
        return None
    pods = [pod for pod in pods if not _answered(situation, pod)] or pods
    pod = pods[int(draws.uniform(status.revision, number, "pod") * len(pods))]
    return RunProbes(revision=status.revision, number=number, pod=pod.name, probe=probe)


def asked(memory: Memory, now: datetime) -> Memory:
    """Return the memory of having asked now."""
    return replace(memory, probed_at=now)


def candidates(situation: Situation) -> list[EnginePod]:
    """Return the pods that can be asked: under reuse for this revision, or, without any, in shadow for it."""
    able = [
        pod
        for pod in situation.snapshot.ready
        if pod.state is not None
        and pod.state.probe_runs is not None
        and pod.state.identity.revision == situation.status.revision
    ]
    reusing = [pod for pod in able if pod.state and pod.state.mode is Mode.ON]
    if reusing or situation.status.phase is Phase.PROMOTED:
        return reusing
    return [pod for pod in able if pod.state and pod.state.mode is Mode.SHADOW]


def due(situation: Situation, pod: EnginePod, asked: Quality) -> datetime:
    """Return when a pod may be asked again; one that wasn't yet, at any time."""
    probing = situation.memory.probing
    last = probing.last.get(pod.name, probing.before)
    if last is None:
        return situation.snapshot.now
    share = 1.0 if serves_nobody(situation, pod) else asked.max_time_share
    if situation.evidence.probed():
        share /= EASED
    return last.ended + max(timedelta(seconds=last.seconds * (1.0 / share - 1.0)), _pause(last))


def _pause(last: Asked) -> timedelta:
    if not last.in_vain:
        return timedelta()
    doubled: int = 1 << min(last.in_vain - 1, 10)
    return min(IN_VAIN * doubled, MOST_IN_VAIN)


def serves_nobody(situation: Situation, pod: EnginePod) -> bool:
    """Return whether a pod of the canary has no users yet: it was drained, and stands behind no Service."""
    if pod.state is None or not situation.snapshot.routed or situation.status.phase is not Phase.CANARY:
        return False
    drained = (pod.name, pod.state.incarnation) in situation.memory.drained_pods
    return drained and not pod.baseline_label and not pod.canary_label


def _answered(situation: Situation, pod: EnginePod) -> bool:
    assert pod.state is not None
    if pod.state.mode is not Mode.ON:
        return True
    life = (pod.name, pod.state.incarnation)
    confirmed = pod_status(situation.status, pod.name).confirmed
    return life in situation.memory.answered or confirmed == pod.state.incarnation

"""Chooses which probes are asked next: contexts as the traffic's are, new pods of the canary first.

By the deficit rule: of the buckets of context length that have probes, the next is the one that lags most
behind its share of the traffic. Probes go on after the certificate, more seldom: what was good may drift.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from indexcache_core.contexts import context_bucket
from indexcache_core.contract import Mode

from indexcache_operator.api.status import Phase
from indexcache_operator.model import EnginePod, Probe, RunProbes
from indexcache_operator.plan.evidence import contexts
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import pod_status

A_LOOK = 2
"""Probes asked at once."""
EVERY, EVERY_WHEN_CERTIFIED = timedelta(seconds=1), timedelta(seconds=20)
"""Between two askings."""


def choose(situation: Situation) -> RunProbes | None:
    """Return the probes to ask now; None if there is nothing to ask or nobody to compare with."""
    snapshot, status = situation.snapshot, situation.status
    if (
        status.phase not in (Phase.CANARY, Phase.PROMOTED)
        or snapshot.observation.spec is None
        or snapshot.spec.guardrails.quality is None
    ):
        return None
    if snapshot.observation.probes is None or not snapshot.observation.probes.probes:
        return None
    canaries = [
        p
        for p in snapshot.ready
        if p.state and p.state.mode is Mode.ON and p.state.identity.revision == status.revision
    ]
    baselines = [p for p in snapshot.ready if p.state and p.state.mode in (Mode.OFF, Mode.SHADOW)]
    k = snapshot.k
    if not canaries or not baselines or not k:
        return None
    new = [p for p in canaries if not _answered(situation, p)]
    certified = next(
        (a.verdict.value == "Certified" for a in situation.evidence.answers if a.guardrail.name == "quality"),
        False,
    )
    every = EVERY_WHEN_CERTIFIED if certified and not new else EVERY
    if situation.memory.probed_at and snapshot.since(situation.memory.probed_at) < every:
        return None
    pairs = situation.memory.quality.count if situation.memory.quality else 0
    canary = new[0] if new else canaries[pairs // A_LOOK % len(canaries)]
    baseline = baselines[pairs // A_LOOK % len(baselines)]
    probes = tuple(_next(situation, k))
    return RunProbes(
        revision=status.revision, baseline_pod=baseline.name, canary_pod=canary.name, probes=probes
    )


def asked(memory: Memory, now: datetime) -> Memory:
    """Return the memory of having asked now."""
    return replace(memory, probed_at=now)


def _answered(situation: Situation, pod: EnginePod) -> bool:
    assert pod.state is not None
    life = (pod.name, pod.state.incarnation)
    return (
        life in situation.memory.answered
        or pod_status(situation.status, pod.name).confirmed == pod.state.incarnation
    )


def _next(situation: Situation, k: int) -> list[Probe]:
    assert situation.snapshot.observation.probes is not None
    by_bucket: dict[int, list[Probe]] = {}
    for probe in situation.snapshot.observation.probes.probes:
        by_bucket.setdefault(context_bucket(probe.context_tokens, k), []).append(probe)
    shares = contexts.shares(situation, range(contexts.BUCKETS))
    weights = {b: shares[b] for b in by_bucket if b in shares} or dict.fromkeys(by_bucket, 1.0)
    total = sum(weights.values())
    done = {b: sum(situation.memory.quality_counts.get(str(b), {}).values()) for b in by_bucket}
    out = []
    for _ in range(A_LOOK):
        asked_for = sum(done[b] for b in weights) + 1
        b = max(weights, key=lambda b: (weights[b] / total * asked_for - done[b], -b))
        out.append(by_bucket[b][done[b] % len(by_bucket[b])])
        done[b] += 1
    return out

"""Answers of probes: what no engine remembers, so the status does."""

from dataclasses import replace

from indexcache_core.contexts import context_bucket
from indexcache_core.evidence import detector, quality
from indexcache_core.histogram import BUCKETS, Histogram, bucket, of

from indexcache_operator.api.status import QualityStatus, Status
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Situation


def observe(situation: Situation, slot: int) -> Memory:
    """Return the memory with the probes answered since the last look; the first look reads what the status
    holds.
    """
    snapshot, memory = situation.snapshot, situation.memory
    guardrail = snapshot.spec.guardrails.quality
    if guardrail is None:
        return memory
    status, tolerance = situation.status, guardrail.max_logprob_drop
    total, d, counts, drop_sum = (
        memory.quality,
        memory.quality_detector,
        memory.quality_counts,
        memory.drop_sum,
    )
    if total is None or d is None:
        total, counts, drop_sum = _stored(status)
        d = detector.resumed(total, quality.THRESHOLD, slot)
    k = snapshot.k
    values, answered = [], set(memory.answered)
    for result in snapshot.observation.probe_results:
        if result.revision != status.revision:
            continue
        answered.add((result.canary_pod, result.incarnation))
        drop = result.baseline_logprob - result.canary_logprob
        values.append(quality.value(drop, tolerance))
        drop_sum += (
            min(max(drop, -quality.CLIP * tolerance), quality.CLIP * tolerance)
            if drop == drop
            else quality.CLIP * tolerance
        )
        context = str(context_bucket(result.context_tokens, k)) if k else "0"
        row = dict(counts.get(context, {}))
        row[str(bucket(values[-1]))] = row.get(str(bucket(values[-1])), 0) + 1
        counts = {**counts, context: row}
    if not values:
        return replace(memory, quality=total, quality_detector=d, quality_counts=counts, drop_sum=drop_sum)
    batch = of(values)
    return replace(
        memory,
        quality=total.plus(batch),
        quality_detector=d.after(batch, quality.THRESHOLD, slot),
        quality_counts=counts,
        drop_sum=drop_sum,
        answered=frozenset(answered),
        data_at=snapshot.now,
    )


def stored(revision: str, memory: Memory) -> QualityStatus | None:
    """Return what to put into the status; None without probes."""
    if memory.quality is None:
        return None
    return QualityStatus(
        revision=revision, counts=memory.quality_counts, drop_sum=memory.drop_sum, pairs=memory.quality.count
    )


def _stored(status: Status) -> tuple[Histogram, dict[str, dict[str, int]], float]:
    kept = status.quality
    if kept is None or kept.revision != status.revision:
        return Histogram(), {}, 0.0
    counts = [sum(row.get(str(i), 0) for row in kept.counts.values()) for i in range(BUCKETS)]
    # The mean of values is exact by the drops; bounds rest on the counts.
    return (
        Histogram(counts=tuple(counts), sum=sum(n * (i + 0.5) / BUCKETS for i, n in enumerate(counts))),
        kept.counts,
        kept.drop_sum,
    )

"""Answers of probes: what no engine remembers, so the status does."""

from dataclasses import replace

from indexcache_core.contexts import context_bucket
from indexcache_core.evidence import detector, quality
from indexcache_core.histogram import BUCKETS, Histogram, bucket, of

from indexcache_operator.api.status import QualityStatus, Status
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Situation


def observe(situation: Situation, slot: int) -> Memory:
    """Return the memory with the probes answered since the last look.

    The first look reads what the status holds.
    """
    guardrail = situation.snapshot.spec.guardrails.quality
    if guardrail is None:
        return situation.memory
    memory = _read(situation, slot)
    total, detector_ = memory.quality, memory.quality_detector
    assert total is not None
    assert detector_ is not None
    results = [
        r for r in situation.snapshot.observation.probe_results if r.revision == situation.status.revision
    ]
    if not results:
        return memory
    tolerance, k = guardrail.max_logprob_drop, situation.snapshot.k
    values, counts, drop_sum = [], memory.quality_counts, memory.drop_sum
    for result in results:
        drop = result.baseline_logprob - result.canary_logprob
        value = quality.value(drop, tolerance)
        values.append(value)
        drop_sum += _clipped(drop, quality.CLIP * tolerance)
        context = str(context_bucket(result.context_tokens, k)) if k else "0"
        row, place = dict(counts.get(context, {})), str(bucket(value))
        counts = {**counts, context: row | {place: row.get(place, 0) + 1}}
    batch = of(values)
    return replace(
        memory,
        quality=total.plus(batch),
        quality_detector=detector_.after(batch, quality.THRESHOLD, slot),
        quality_counts=counts,
        drop_sum=drop_sum,
        answered=memory.answered | {(result.canary_pod, result.incarnation) for result in results},
        data_at=situation.snapshot.now,
    )


def _read(situation: Situation, slot: int) -> Memory:
    """Return the memory with what the status holds, unless that was read before."""
    memory = situation.memory
    if memory.quality is not None and memory.quality_detector is not None:
        return memory
    total, counts, drop_sum = _stored(situation.status)
    begun = detector.resumed(total, quality.THRESHOLD, slot)
    return replace(memory, quality=total, quality_detector=begun, quality_counts=counts, drop_sum=drop_sum)


def _clipped(drop: float, most: float) -> float:
    """Return a drop within bounds; one that is no number counts as the worst."""
    return min(max(drop, -most), most) if drop == drop else most


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

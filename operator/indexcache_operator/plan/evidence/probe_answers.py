"""Takes up answers of probes: what no engine remembers, so the status does.

A pair counts once, by its number. One that failed under reuse alone, whatever way, counts as the worst; one
that nobody can be blamed for counts nowhere but in `uncounted`, where people see it.

Detectors reckon in answers, not in seconds: a slot is SLOT of them. So what a change after n good answers
costs more than one at the start (detector.py) depends on n / SLOT, however seldom was asked.
"""

import math
from dataclasses import replace

from indexcache_core.contexts import context_bucket
from indexcache_core.contract import Mode
from indexcache_core.evidence import detector, disasters, quality
from indexcache_core.histogram import BUCKETS, Histogram, bucket, of

from indexcache_operator.api.spec import Quality
from indexcache_operator.api.status import QualityStatus, Status
from indexcache_operator.model import ProbeResult
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.probing import Asked, Probing
from indexcache_operator.plan.facts.situation import Situation

SLOT = 16
"""Answers."""


def observe(situation: Situation) -> Memory:
    """Return the memory with the probes answered since the last look.

    The first look reads what the status holds.
    """
    guardrail = situation.snapshot.spec.guardrails.quality
    if guardrail is None:
        return situation.memory
    memory = _read(situation, guardrail)
    for result in sorted(situation.snapshot.observation.probe_results, key=lambda r: r.number):
        if result.revision == situation.status.revision and result.number >= memory.probing.asked:
            memory = _with(replace(situation, memory=memory), guardrail, result)
    return memory


def _with(situation: Situation, guardrail: Quality, result: ProbeResult) -> Memory:
    """Return the memory with one pair more."""
    memory, now = situation.memory, situation.snapshot.now
    probing, reason = memory.probing, result.uncounted
    before = probing.last.get(result.pod)
    in_vain = (before.in_vain if before else 0) + 1 if reason else 0
    probing = replace(
        probing,
        asked=result.number + 1,
        seconds=probing.seconds + result.seconds,
        last={**probing.last, result.pod: Asked(ended=now, seconds=result.seconds, in_vain=in_vain)},
    )
    if reason is not None:
        uncounted = {**probing.uncounted, reason.value: probing.uncounted.get(reason.value, 0) + 1}
        return replace(memory, probing=replace(probing, uncounted=uncounted), probed_at=None)
    counted = _counted(replace(situation, memory=replace(memory, probing=probing)), guardrail, result)
    return replace(counted, probed_at=None, data_at=now)


def _counted(situation: Situation, guardrail: Quality, result: ProbeResult) -> Memory:
    """Return the memory with one observation more."""
    memory, k, tolerance = situation.memory, situation.snapshot.k, guardrail.max_logprob_drop
    failed = result.reuse_logprob is None
    drop = math.inf if result.reuse_logprob is None else result.full_logprob - result.reuse_logprob
    value, kept = quality.value(drop, tolerance), disasters.value(drop, tolerance)
    total, began, probing = memory.quality, memory.quality_detector, memory.probing
    assert total is not None
    assert began is not None
    assert probing.detector is not None
    total, slot = total.plus(of([value])), _slot(total.count + 1)
    context = str(context_bucket(result.context_tokens, k)) if k else "0"
    row, place = dict(memory.quality_counts.get(context, {})), str(bucket(value))
    answered = result.mode is Mode.ON and not failed
    return replace(
        memory,
        quality=total,
        quality_detector=began.after(of([value]), quality.THRESHOLD, slot),
        quality_counts={**memory.quality_counts, context: row | {place: row.get(place, 0) + 1}},
        drop_sum=memory.drop_sum + _clipped(drop, quality.CLIP * tolerance),
        answered=memory.answered | {(result.pod, result.incarnation)} if answered else memory.answered,
        probing=replace(
            probing,
            kept=probing.kept.plus(of([kept])),
            detector=probing.detector.after(of([kept]), 1.0 - guardrail.max_disaster_share, slot),
            failed=probing.failed + failed,
        ),
    )


def _slot(answers: int) -> int:
    return 1 + answers // SLOT


def _read(situation: Situation, guardrail: Quality) -> Memory:
    """Return the memory with what the status holds, unless that was read before."""
    memory = situation.memory
    if memory.quality is not None and memory.quality_detector is not None:
        return memory
    total, counts, drop_sum, probing = _stored(situation.status, guardrail)
    slot = _slot(total.count)
    begun = detector.resumed(total, quality.THRESHOLD, slot)
    kept = detector.resumed(probing.kept, 1.0 - guardrail.max_disaster_share, slot)
    before = None
    if probing.asked:  # by the process before this one, just now at worst
        before = Asked(ended=situation.snapshot.now, seconds=probing.seconds / probing.asked)
    return replace(
        memory,
        quality=total,
        quality_detector=begun,
        quality_counts=counts,
        drop_sum=drop_sum,
        probing=replace(probing, tolerance=guardrail.max_logprob_drop, detector=kept, before=before),
    )


def _clipped(drop: float, most: float) -> float:
    """Return a drop within bounds; one that is no number counts as the worst."""
    return min(max(drop, -most), most) if drop == drop else most


def stored(revision: str, memory: Memory) -> QualityStatus | None:
    """Return what to put into the status; None without probes."""
    if memory.quality is None:
        return None
    probing = memory.probing
    return QualityStatus(
        revision=revision,
        tolerance=probing.tolerance,
        counts=memory.quality_counts,
        drop_sum=memory.drop_sum,
        pairs=memory.quality.count,
        disasters=probing.kept.counts[0],
        failed=probing.failed,
        asked=probing.asked,
        uncounted=dict(probing.uncounted),
        seconds=round(probing.seconds, 3),
    )


def _stored(
    status: Status, guardrail: Quality
) -> tuple[Histogram, dict[str, dict[str, int]], float, Probing]:
    """Return what the status holds of this try. Answers that were counted in another tolerance say nothing in
    this one; the draws go on.
    """
    kept = status.quality
    if kept is None or kept.revision != status.revision:
        return Histogram(), {}, 0.0, Probing()
    probing = Probing(asked=kept.asked, uncounted=kept.uncounted, seconds=kept.seconds)
    if kept.tolerance not in (0.0, guardrail.max_logprob_drop):
        return Histogram(), {}, 0.0, probing
    counts = [sum(row.get(str(i), 0) for row in kept.counts.values()) for i in range(BUCKETS)]
    # A status without a tolerance is of a release that didn't count disasters: the worst values are taken for
    # such. The mean of values is exact by the drops; bounds rest on the counts.
    lost = kept.disasters if kept.tolerance else counts[0]
    return (
        Histogram(counts=tuple(counts), sum=sum(n * (i + 0.5) / BUCKETS for i, n in enumerate(counts))),
        kept.counts,
        kept.drop_sum,
        replace(
            probing,
            failed=kept.failed,
            kept=of([0.0] * lost + [1.0] * max(sum(counts) - lost, 0)),
        ),
    )

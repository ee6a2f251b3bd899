"""Decides when the status is written for people: when something happened, and while something runs after each
EVERY.

A steady state yields the same status look after look, so that nothing is written.
"""

from dataclasses import replace
from datetime import timedelta

from indexcache_core.evidence.verdict import worst

from indexcache_operator.api.status import Phase, Status
from indexcache_operator.plan.evidence import probe_answers
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.report import columns, figures, reached
from indexcache_operator.plan.waits import certificates
from indexcache_operator.plan.waits.phases import waiting

EVERY = timedelta(seconds=10)
EVERY_WHEN_PROMOTED = timedelta(minutes=10)


def publish(situation: Situation, before: Status, measured: bool) -> tuple[Status, Memory]:
    """Return the status with what people read, and the memory of when.

    `before` is the status as it was read; `measured`, whether this look took up evidence.
    """
    situation = replace(situation, status=replace(situation.status, reuse=columns.reuse(situation)))
    if not measured:
        return _worded(_unmeasured(situation)), situation.memory
    moved = _place(situation.status) != _place(before)
    if not (moved or _due(situation, before)):
        return _as_before(situation, before), situation.memory
    status = _worded(replace(situation, status=_with_figures(situation, moved)))
    remembered = replace(
        situation.memory, published_at=situation.snapshot.now, published=_verdicts(situation)
    )
    return status, remembered


def _place(status: Status) -> tuple[object, ...]:
    """Return where a try stands: a move is written at once."""
    return (status.phase, status.step and status.step.index, status.revision)


def _verdicts(situation: Situation) -> tuple[tuple[str, str], ...]:
    return tuple((a.guardrail.name, a.verdict.value) for a in situation.evidence.answers)


def _due(situation: Situation, before: Status) -> bool:
    """Return whether figures are written again: after a while, where the reach changed, and where a verdict
    turned, but in Promoted not for a verdict.
    """
    if reached.changed(before, situation.status):
        return True
    promoted, memory = situation.status.phase is Phase.PROMOTED, situation.memory
    every = EVERY_WHEN_PROMOTED if promoted else EVERY
    if memory.published_at is None or situation.snapshot.since(memory.published_at) >= every:
        return True
    return not promoted and _verdicts(situation) != memory.published


def _as_before(situation: Situation, before: Status) -> Status:
    """Return the status with the figures that are in it already."""
    step = situation.status.step
    if step is not None and before.step is not None:
        seen, needed = before.step.requests_seen, before.step.requests_needed
        step = replace(step, requests_seen=seen, requests_needed=needed)
    status = replace(
        situation.status,
        step=step,
        evidence=before.evidence,
        waiting=before.waiting,
        recall=before.recall,
        verdict=before.verdict,
        reason=before.reason,
        step_summary=before.step_summary,
        requests_seen=before.requests_seen,
        quality=before.quality,
        reach=reached.as_before(situation.status.reach, before.reach),
    )
    if status.phase not in (Phase.PROMOTING, Phase.PROMOTED):
        return status
    return replace(status, reason=columns.reason(situation), waiting=waiting(situation))


def _with_figures(situation: Situation, moved: bool) -> Status:
    """Return the status with the figures of this look; a phase or step that begins counts its requests from
    nothing.
    """
    status, memory = situation.status, situation.memory
    step = status.step
    if step is not None:
        step = replace(
            step, requests_seen=memory.requests_seen, requests_needed=certificates.needed(situation)
        )
    return replace(
        status,
        evidence=figures.evidence_rows(situation),
        step=step,
        requests_seen=memory.requests_seen if not moved else 0,
        recall=figures.recall(situation),
        verdict=worst([a.verdict for a in situation.evidence.answers]).value,
        quality=probe_answers.stored(status.revision, memory),
        reach=reached.shown(situation),
    )


def _worded(situation: Situation) -> Status:
    """Return the status with what is waited for, and what the printer columns say of it in words."""
    waited = replace(situation, status=replace(situation.status, waiting=waiting(situation)))
    return replace(waited.status, reason=columns.reason(waited), step_summary=columns.step(waited))


def _unmeasured(situation: Situation) -> Situation:
    """Return the situation without figures in its columns: those of an earlier phase say nothing of this."""
    return replace(situation, status=replace(situation.status, recall="", verdict=""))

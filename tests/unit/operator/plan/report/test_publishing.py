"""Tests when the status is written for people."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_core.evidence.verdict import Verdict
from indexcache_core.histogram import of
from indexcache_operator.api.status import (
    EvidenceStatus,
    Origin,
    Phase,
    QualityStatus,
    Status,
    WaitStatus,
)
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.report import publishing, reached
from indexcache_operator.plan.waits.phases import waiting

from tests.unit.operator.plan.build import (
    REVISION,
    at,
    engine,
    evidence,
    granted,
    intent,
    pod,
    situation,
    spec,
    status,
)
from tests.unit.operator.plan.report.published import STEP, memory, publish


def test_where_nothing_is_measured_no_old_figure_stays_in_a_column() -> None:
    old: dict[str, Any] = {"recall": "0.9", "verdict": "Breached"}
    kept = status(Phase.FALLING_BACK, fallback=intent("Killed"), requests_seen=3, message="m", **old)
    c = situation(status=kept, memory=memory())
    assert publish(c, measured=False) == (
        replace(
            kept,
            reason="Killed",
            step_summary="0/2",
            recall="",
            verdict="",
            waiting=WaitStatus(
                origin=Origin.PLATFORM,
                reason="FallingBack",
                message="m",
                way_out="nothing need be done; status.pods says what each engine does",
            ),
        ),
        memory(),
    )


def due(c: Situation, before: Status | None = None) -> bool:
    """Return whether live figures are written in this look."""
    after, remembered = publish(c, before)
    assert (remembered.published_at == at(0)) is (after.requests_seen != 7 or after.recall != "old")
    return remembered.published_at == at(0)


OLD: dict[str, Any] = {"step": STEP, "recall": "old", "requests_seen": 7}


@pytest.mark.parametrize(
    ("phase", "seconds", "expected"),
    [
        (Phase.CANARY, -9.9, False),
        (Phase.CANARY, -10.0, True),
        (Phase.SHADOWING, -10.0, True),
        (Phase.PROMOTING, -10.0, True),
        (Phase.PROMOTED, -599.9, False),
        (Phase.PROMOTED, -600.0, True),
        (Phase.CANARY, None, True),
    ],
)
def test_live_figures_are_written_every_so_often(phase: Phase, seconds: float | None, expected: bool) -> None:
    assert (
        due(situation(pod(), status=status(phase, **OLD), memory=memory(seconds), evidence=evidence()))
        is expected
    )


@pytest.mark.parametrize(
    ("phase", "expected"), [(Phase.CANARY, True), (Phase.SHADOWING, True), (Phase.PROMOTED, False)]
)
def test_a_verdict_that_turned_is_written_at_once_but_for_those_watched_on(
    phase: Phase, expected: bool
) -> None:
    c = situation(pod(), status=status(phase, **OLD), memory=memory(), evidence=evidence(Verdict.HOLDING))
    assert due(c) is expected


@pytest.mark.parametrize(
    "change",
    [
        {"phase": Phase.SHADOWING},
        {"step": None},
        {"step": replace(STEP, index=1)},
        {"revision": "x"},
    ],
)
def test_a_move_is_written_at_once_and_begins_a_count(change: dict[str, Any]) -> None:
    c = situation(pod(), status=status(**OLD), memory=memory(), evidence=evidence())
    after, remembered = publish(c, before=replace(c.status, **change))
    assert (remembered.published_at, after.requests_seen) == (at(0), 0)
    assert (
        publish(situation(pod(), status=status(**OLD), memory=memory(-10), evidence=evidence()))[
            0
        ].requests_seen
        == 44
    )


LIVE: dict[str, Any] = {
    "evidence": (EvidenceStatus(guardrail="recall", verdict=Verdict.CERTIFIED, alpha=0.01),),
    "recall": "0.88",
    "verdict": "Certified",
    "reason": "before",
    "step_summary": "1/2",
    "requests_seen": 7,
    "waiting": WaitStatus(origin=Origin.TRAFFIC, reason="EvidenceWanted"),
    "quality": QualityStatus(revision=REVISION, pairs=2),
    "step": replace(STEP, requests_seen=5, requests_needed=6),
}


@pytest.mark.parametrize(
    ("phase", "reason"), [(Phase.CANARY, "before"), (Phase.PROMOTED, "Certified"), (Phase.PROMOTING, "other")]
)
def test_between_two_writings_all_live_figures_stay(phase: Phase, reason: str) -> None:
    before = status(phase, **LIVE)
    nothing = Status()
    none: dict[str, Any] = {name: getattr(nothing, name) for name in LIVE}
    now = replace(before, **{**none, "step": STEP, "message": "other"})
    c = situation(pod(), status=now, memory=memory(), evidence=evidence())
    assert publishing.publish(c, before, True) == (
        replace(
            before,
            message="other",
            reason=reason,
            waiting=before.waiting if phase is Phase.CANARY else waiting(c),
        ),
        memory(),
    )


def test_without_a_step_nothing_is_kept_of_one() -> None:
    before = status(Phase.SHADOWING, requests_seen=7)
    c = situation(pod(), status=before, memory=memory(), evidence=evidence())
    assert publish(c)[0].step is None


def test_what_is_written() -> None:
    found = evidence(Verdict.HOLDING)
    c = situation(
        pod(), status=status(step=STEP), memory=memory(None, quality=of([0.5]), drop_sum=0.25), evidence=found
    )
    after, remembered = publish(c)
    (row,) = after.evidence
    assert after.step == replace(STEP, requests_seen=44, requests_needed=0)
    assert (after.requests_seen, after.verdict, after.recall, after.step_summary) == (
        44,
        "Holding",
        f"{row.mean:.2f} (>{row.lower_bound:.2f})",
        "1/2",
    )
    assert after.waiting == waiting(c)
    assert after.waiting is not None
    assert after.reason == after.waiting.message
    assert after.quality == QualityStatus(revision=REVISION, counts={}, drop_sum=0.25, pairs=1)
    assert remembered == replace(c.memory, published_at=at(0), published=(("recall", "Holding"),))


def test_paused_is_said_where_steps_stand_still() -> None:
    def reason(phase: Phase) -> str:
        c = situation(
            pod(), status=status(phase), spec=spec(paused=True), evidence=evidence(), memory=memory(None)
        )
        return publish(c)[0].reason

    assert reason(Phase.SHADOWING) == reason(Phase.CANARY) == "paused"
    assert reason(Phase.PROMOTING) == ""


BOUNDED = granted(32, 64, share=0.5, beyond_share=0.1, message="said", summary="32")


def test_the_share_that_meets_reuse_is_written_in_each_look() -> None:
    on = pod("a", engine(Mode.ON))
    for measured in (True, False):
        c = situation(on, pod("b"), status=status(Phase.PROMOTED), memory=memory(), evidence=evidence())
        assert publish(c, measured=measured)[0].reuse == 50


def test_a_reach_that_changed_is_written_at_once() -> None:
    now = status(Phase.PROMOTED, reach=granted(64), **OLD)
    c = situation(pod(), status=now, memory=memory(), evidence=evidence())
    assert due(c, replace(now, reach=BOUNDED))
    assert not due(c, replace(now, reach=replace(BOUNDED, tokens=64)))


def test_figures_of_the_reach_are_those_of_the_last_writing() -> None:
    kept = status(Phase.PROMOTED, reach=BOUNDED, **OLD)
    now = replace(kept, reach=granted(32, 64))
    between = situation(pod(), status=now, memory=memory(), evidence=evidence())
    assert publish(between, kept)[0].reach == BOUNDED
    written = situation(pod(), status=now, memory=memory(None), evidence=evidence())
    assert publish(written, kept)[0].reach == reached.shown(written)
    assert reached.shown(written) != now.reach

"""What people read of a rollout, and when it is written anew."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from indexcache_core.evidence.traffic import Reached
from indexcache_core.evidence.verdict import Judgement, Verdict
from indexcache_core.histogram import Histogram, of
from indexcache_operator.api.status import (
    EvidenceStatus,
    Phase,
    QualityStatus,
    Status,
    StepStatus,
    TrafficStatus,
)
from indexcache_operator.plan import report
from indexcache_operator.plan.memory import Memory, TestKey
from indexcache_operator.plan.situation import Evidence, Seen, Situation

from tests.unit.operator.plan.build import (
    KEPT,
    QUALITY,
    REVISION,
    WITH_CANARY,
    answer,
    at,
    but,
    evidence,
    intent,
    judgement,
    pod,
    route,
    situation,
    spec,
    status,
)

STEP = StepStatus(index=0, weight=20, started_at=at(-9), reached_at=at(-8))
SHOWN = (("recall", "Certified"),)


def memory(published: float | None = -1, verdicts: Any = SHOWN, **changes: Any) -> Memory:
    when = None if published is None else at(published)
    return Memory(key="try", published_at=when, published=verdicts, requests_seen=44, **changes)


def publish(c: Situation, before: Status | None = None, measured: bool = True) -> tuple[Status, Memory]:
    return report.publish(c, before or c.look.o.status, measured)


def test_without_evidence_only_the_reason_and_the_step_are_written() -> None:
    kept = status(Phase.FALLING_BACK, fallback=intent("Killed"), recall="0.9", requests_seen=3)
    c = situation(status=kept, memory=memory())
    assert publish(c, measured=False) == (
        replace(kept, reason="Killed", step_summary="0/2"),
        memory(),
    )


def due(c: Situation, before: Status | None = None) -> bool:
    """Whether live figures are written in this look."""
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
    "quality": QualityStatus(revision=REVISION, pairs=2),
    "step": replace(STEP, requests_seen=5, requests_needed=6),
}


@pytest.mark.parametrize(
    ("phase", "reason"), [(Phase.CANARY, "before"), (Phase.PROMOTED, "before"), (Phase.PROMOTING, "other")]
)
def test_between_two_writings_all_live_figures_stay(phase: Phase, reason: str) -> None:
    before = status(phase, **LIVE)
    nothing = Status()
    none: dict[str, Any] = {name: getattr(nothing, name) for name in LIVE}
    now = replace(before, **{**none, "step": STEP, "message": "other"})
    c = situation(pod(), status=now, memory=memory(), evidence=evidence())
    assert report.publish(c, before, True) == (
        replace(before, message="other", reason=reason),
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
        f"{row.lower_bound:.2f}",
        "1/2",
    )
    assert after.reason == "certified"
    assert after.quality == QualityStatus(revision=REVISION, counts={}, drop_sum=0.25, pairs=1)
    assert remembered == replace(c.memory, published_at=at(0), published=(("recall", "Holding"),))


def test_a_row_of_evidence() -> None:
    (row,) = report.evidence_rows(situation(pod(), evidence=evidence(Verdict.HOLDING)))
    shown = judgement(Verdict.HOLDING)
    assert shown.lower_bound is not None
    assert row == EvidenceStatus(
        guardrail="recall",
        contexts="65-128",
        verdict=Verdict.HOLDING,
        mean=0.9,
        lower_bound=round(shown.lower_bound, 4),
        threshold=0.5,
        samples=100,
        e_value=1.0,
        alpha=answer("recall", Verdict.HOLDING).guardrail.alpha,
    )


def rows(
    judgements: dict[TestKey, Judgement], name: str = "recall", **changes: Any
) -> tuple[EvidenceStatus, ...]:
    asked = spec(guardrails={"recall": {"min": 0.5, "perIndexerMin": 0.3}})
    found = Evidence(answers=(answer(name, Verdict.HOLDING, judgements, asked),))
    return report.evidence_rows(situation(pod("a", **changes), spec=asked, evidence=found))


def test_figures_are_rounded_and_wealth_beyond_all_need_is_cut() -> None:
    values = of([0.123456, 0.2])
    (row,) = rows({TestKey("recall", None, 3): judgement(Verdict.BREACHED, values, log_e=99.0)})
    assert (row.mean, row.e_value, row.samples) == (0.1617, report.MOST_E, 1)
    (row,) = rows({TestKey("recall", None, 3): judgement(Verdict.HOLDING, values, log_e=1.0)})
    assert row.e_value == 2.7183
    (row,) = rows({TestKey("recall", None, 3): judgement(Verdict.NO_DATA, Histogram())})
    assert (row.mean, row.lower_bound) == (None, None)


def test_contexts_are_named_in_tokens_where_k_is_known() -> None:
    test = {TestKey("recall", None, 3): judgement(Verdict.HOLDING)}
    assert rows(test, state=None)[0].contexts == ""
    assert rows({TestKey("recall", 3, None): judgement(Verdict.HOLDING)})[0].contexts == ""


GOOD, WORSE = of([0.9] * 50), of([0.6] * 50)


@pytest.mark.parametrize(
    ("judgements", "weakest"),
    [
        ([(Verdict.HOLDING, GOOD, 0.0), (Verdict.BREACHED, GOOD, 0.0)], 1),
        ([(Verdict.NO_DATA, GOOD, 0.0), (Verdict.HOLDING, GOOD, 0.0)], 0),
        ([(Verdict.HOLDING, GOOD, 0.0), (Verdict.HOLDING, GOOD, 2.0)], 1),
        ([(Verdict.HOLDING, GOOD, 0.0), (Verdict.HOLDING, WORSE, 0.0)], 1),
        ([(Verdict.HOLDING, GOOD, 0.0), (Verdict.HOLDING, Histogram(), 0.0)], 1),
    ],
)
def test_of_the_indexers_only_the_weakest_is_shown(
    judgements: list[tuple[Verdict, Histogram, float]], weakest: int
) -> None:
    found = {TestKey("recall_per_indexer", i, None): judgement(*j) for i, j in enumerate(judgements)}
    assert [row.indexer for row in rows(found, "recall_per_indexer")] == [weakest]
    assert len(rows({TestKey("recall", None, i): j for i, j in enumerate(found.values())})) == len(judgements)
    assert rows({}, "recall_per_indexer") == ()


def summed(*found: Judgement) -> str:
    """The reason of a step with these judgements."""
    tests = {TestKey("recall", None, i + 2): j for i, j in enumerate(found)}
    answers = (answer("recall", Verdict.HOLDING, tests),)
    return publish(
        situation(pod(), status=status(step=STEP), evidence=Evidence(answers=answers), memory=memory(None))
    )[0].reason


SOME = judgement(Verdict.HOLDING, of([0.9] * 4))
LESS = judgement(Verdict.HOLDING, of([0.9] * 2))
NEVER = judgement(Verdict.HOLDING, of([0.1] * 9))
ENOUGH = judgement(Verdict.CERTIFIED)


def test_how_much_evidence_is_wanted_is_what_the_slowest_certificate_wants() -> None:
    assert SOME.needed is not None
    assert LESS.needed is not None
    most = max(SOME.needed, LESS.needed)
    assert summed(SOME, LESS, ENOUGH) == f"{most} more observations needed"
    assert summed(ENOUGH) == "certified"
    assert summed(SOME, NEVER) == "more evidence needed"


@pytest.mark.parametrize(
    ("phase", "changes", "reason"),
    [
        (Phase.FALLING_BACK, {"status": {"fallback": intent("Killed")}}, "Killed"),
        (Phase.FELL_BACK, {"status": {"fallback": intent("Killed")}}, "Killed"),
        (Phase.FELL_BACK, {"status": {"message": "m"}}, "m"),
        (Phase.PROMOTING, {"status": {"message": "x" * 80}}, "x" * 80),
        (Phase.PROMOTING, {"status": {"message": "x" * 81}}, "x" * 77 + "..."),
        (Phase.CANARY, {"status": {"fallback": intent("Killed")}}, "certified"),
        (Phase.CANARY, {"status": {"step": STEP}}, "certified"),
        (
            Phase.CANARY,
            {"status": {"step": replace(STEP, reached_at=None)}},
            "weight 20 not seen yet",
        ),
        (Phase.CANARY, {"verdict": Verdict.NO_DATA}, "no data on recall"),
        (Phase.SHADOWING, {"requests": 19}, "1 more requests needed"),
        (Phase.SHADOWING, {"requests": 20}, "certified"),
        (Phase.SHADOWING, {"requests": 20, "verdict": Verdict.NO_DATA}, "no data on recall"),
        (Phase.CANARY, {"requests": 0}, "certified"),
        (Phase.PROMOTED, {}, "Certified"),
        (Phase.CANARY, {"spec": None, "status": {"message": "m"}}, "m"),
    ],
)
def test_the_reason_column(phase: Phase, changes: dict[str, Any], reason: str) -> None:
    kept, counted = (
        status(phase, **changes.get("status", {})),
        replace(memory(None), requests_seen=changes.get("requests", 44)),
    )
    found = evidence(changes.get("verdict", Verdict.CERTIFIED))
    asked = changes.get("spec", spec())
    assert (
        publish(situation(pod(), status=kept, evidence=found, memory=counted, spec=asked))[0].reason == reason
    )


def test_paused_is_said_where_steps_stand_still() -> None:
    def reason(phase: Phase) -> str:
        c = situation(
            pod(), status=status(phase), spec=spec(paused=True), evidence=evidence(), memory=memory(None)
        )
        return publish(c)[0].reason

    assert reason(Phase.SHADOWING) == reason(Phase.CANARY) == "paused"
    assert reason(Phase.PROMOTING) == ""


def test_in_shadow_quality_is_not_missed() -> None:
    def reason(phase: Phase) -> str:
        asked = spec(guardrails={"recall": {"min": 0.5}, **QUALITY})
        missing = answer(
            "quality", Verdict.NO_DATA, {TestKey("quality"): judgement(Verdict.NO_DATA, Histogram())}, asked
        )
        found = Evidence(
            answers=(answer("recall", Verdict.HOLDING, {TestKey("recall", None, 3): SOME}, asked), missing)
        )
        return publish(
            situation(pod(), status=status(phase), spec=asked, evidence=found, memory=memory(None))
        )[0].reason

    assert reason(Phase.CANARY) == "no data on quality"
    assert reason(Phase.SHADOWING) == "more evidence needed"


@pytest.mark.parametrize(
    ("phase", "step", "asked", "expected"),
    [
        (Phase.CANARY, STEP, spec(), "1/2"),
        (Phase.SHADOWING, None, spec(), "0/2"),
        (Phase.PROMOTING, None, spec(), "2/2"),
        (Phase.PROMOTED, None, spec(), "2/2"),
        (Phase.PROMOTED, None, None, ""),
        (Phase.FELL_BACK, None, spec(), "0/2"),
    ],
)
def test_the_step_column(phase: Phase, step: StepStatus | None, asked: Any, expected: str) -> None:
    c = situation(status=status(phase, step=step), spec=asked)
    assert publish(c, measured=False)[0].step_summary == expected


def test_the_recall_column_is_the_lowest_bound() -> None:
    low, high = judgement(Verdict.HOLDING, of([0.6] * 80)), judgement(Verdict.HOLDING, of([0.9] * 80))
    tests = {
        TestKey("recall", None, 2): high,
        TestKey("recall", None, 3): low,
        TestKey("recall", None, 4): judgement(Verdict.NO_DATA, Histogram()),
    }
    c = situation(
        pod(), evidence=Evidence(answers=(answer("recall", Verdict.HOLDING, tests),)), memory=memory(None)
    )
    assert publish(c)[0].recall == f"{low.lower_bound:.2f}"
    assert publish(situation(pod(), memory=memory(None)))[0].recall == ""
    overlap = Evidence(answers=(answer("overlap", Verdict.HOLDING, tests),))
    assert publish(situation(pod(), evidence=overlap, memory=memory(None)))[0].recall == ""


def traffic(
    now: TrafficStatus,
    reached: Reached,
    contradicted: datetime | None = None,
    before: int = 20,
    **changes: Any,
) -> tuple[TrafficStatus, Memory]:
    old = status(traffic=TrafficStatus(desired=before))
    kept = {"route": KEPT, **changes.pop("kept", {})}
    c = situation(
        status=old,
        memory=Memory(key="try", contradicted_at=contradicted),
        seen=Seen(reached=reached, percent=3),
        **{"route": WITH_CANARY, **changes},
    )
    return report.traffic(but(c, traffic=now, **kept))


WANTED = TrafficStatus(desired=20, previous=5)
VERIFIED = replace(WANTED, observed=20, verified_generation=5)


def test_a_weight_that_the_counters_show_is_verified_for_the_routes_generation() -> None:
    assert traffic(WANTED, Reached.YES)[0] == VERIFIED
    assert traffic(VERIFIED, Reached.YES)[0] == VERIFIED
    newer = route(generation=6)
    assert traffic(VERIFIED, Reached.YES, route=newer)[0].verified_generation == 6
    assert traffic(WANTED, Reached.UNKNOWN)[0] == WANTED


def test_what_was_seen_of_another_weight_says_nothing() -> None:
    assert traffic(WANTED, Reached.YES, before=5)[0] == WANTED
    assert traffic(WANTED, Reached.YES, kept={"route": None})[0] == WANTED
    assert traffic(WANTED, Reached.YES, route=None)[0] == WANTED


AGAINST = replace(WANTED, observed=3, verified_generation=None)


@pytest.mark.parametrize(
    ("now", "contradicted", "written"),
    [
        (WANTED, None, True),
        (VERIFIED, at(-1), True),
        (WANTED, at(-9.9), False),
        (WANTED, at(-10), True),
    ],
)
def test_a_contradiction_is_written_when_it_begins_and_then_every_so_often(
    now: TrafficStatus, contradicted: datetime | None, written: bool
) -> None:
    after, remembered = traffic(now, Reached.NO, contradicted)
    assert after == (AGAINST if written else now)
    assert remembered.contradicted_at == (at(0) if written else contradicted)
    assert traffic(WANTED, Reached.UNKNOWN, at(-99))[0] == WANTED


def test_every_guardrail_has_its_rows() -> None:
    asked = spec(guardrails={"overlap": {"min": 0.3}, "recall": {"min": 0.5}})
    found = [
        answer(name, Verdict.HOLDING, {TestKey(name, None, 3): judgement(Verdict.HOLDING)}, asked)
        for name in ("overlap", "recall")
    ]
    shown = report.evidence_rows(situation(pod(), spec=asked, evidence=Evidence(answers=tuple(found))))
    assert [row.guardrail for row in shown] == ["overlap", "recall"]

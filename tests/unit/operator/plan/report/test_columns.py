"""Tests what the printer columns say in words."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.evidence.verdict import Judgement, Verdict
from indexcache_core.histogram import Histogram, of
from indexcache_operator.api.status import (
    Phase,
    StepStatus,
)
from indexcache_operator.plan.facts.memory import TestKey
from indexcache_operator.plan.facts.situation import Evidence
from indexcache_operator.plan.report import columns

from tests.unit.operator.plan.build import (
    QUALITY,
    answer,
    evidence,
    intent,
    judgement,
    pod,
    situation,
    spec,
    status,
)
from tests.unit.operator.plan.report.published import STEP, memory


def summed(*found: Judgement) -> str:
    """Return the reason of a step with these judgements."""
    tests = {TestKey("recall", None, i + 2): j for i, j in enumerate(found)}
    answers = (answer("recall", Verdict.HOLDING, tests),)
    return columns.reason(
        situation(pod(), status=status(step=STEP), evidence=Evidence(answers=answers), memory=memory(None))
    )


SOME = judgement(Verdict.HOLDING, of([0.9] * 4))
LESS = judgement(Verdict.HOLDING, of([0.9] * 2))
NEVER = judgement(Verdict.HOLDING, of([0.1] * 9))
ENOUGH = judgement(Verdict.CERTIFIED)


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
        (Phase.PROMOTED, {"spec": spec(guardrails={})}, "Unguarded"),
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
    assert columns.reason(situation(pod(), status=kept, evidence=found, memory=counted, spec=asked)) == reason


def test_paused_is_said_where_steps_stand_still() -> None:
    def reason(phase: Phase) -> str:
        c = situation(
            pod(), status=status(phase), spec=spec(paused=True), evidence=evidence(), memory=memory(None)
        )
        return columns.reason(c)

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
        return columns.reason(
            situation(pod(), status=status(phase), spec=asked, evidence=found, memory=memory(None))
        )

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
    assert columns.step(c) == expected

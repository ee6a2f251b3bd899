"""Tests what the printer columns say in words."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_operator.api.status import (
    Origin,
    Phase,
    StepStatus,
    TrafficStatus,
    WaitStatus,
)
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.report import columns

from tests.unit.operator.plan.build import KEPT, MOVED, engine, intent, pod, situation, spec, status
from tests.unit.operator.plan.report.published import STEP

WAIT = WaitStatus(origin=Origin.TRAFFIC, reason="EvidenceWanted", message="7 more observations of recall")


@pytest.mark.parametrize(
    ("phase", "changes", "reason"),
    [
        (Phase.FALLING_BACK, {"fallback": intent("Killed")}, "Killed"),
        (Phase.FELL_BACK, {"fallback": intent("Killed")}, "Killed"),
        (Phase.FELL_BACK, {"message": "m"}, "m"),
        (Phase.PROMOTING, {"message": "x" * 80}, "x" * 80),
        (Phase.PROMOTING, {"message": "x" * 81}, "x" * 77 + "..."),
        (Phase.CANARY, {"fallback": intent("Killed"), "waiting": WAIT}, WAIT.message),
        (Phase.SHADOWING, {"waiting": WAIT, "message": "m"}, WAIT.message),
        (Phase.SHADOWING, {"waiting": replace(WAIT, message="x" * 81)}, "x" * 77 + "..."),
        (Phase.CANARY, {}, "nothing is waited for"),
        (Phase.CHECKING, {"message": "m", "waiting": WAIT}, "m"),
        (Phase.PROMOTED, {}, "Certified"),
    ],
)
def test_the_reason_column(phase: Phase, changes: dict[str, Any], reason: str) -> None:
    assert columns.reason(situation(pod(), status=status(phase, **changes))) == reason


def test_without_a_spec_the_message_is_what_there_is() -> None:
    assert columns.reason(situation(pod(), status=status(message="m"), spec=None)) == "m"
    assert columns.reason(situation(pod(), status=status(Phase.PROMOTED), spec=None)) == "Promoted"


def test_certified_is_never_said_where_nothing_was_tested() -> None:
    promoted = status(Phase.PROMOTED)
    assert columns.reason(situation(pod(), status=promoted, spec=spec(guardrails={}))) == "Unguarded"


def test_a_pod_that_hangs_after_the_promotion_is_said() -> None:
    hung = pod("b", None, error="timeout")
    c = situation(pod(), hung, status=status(Phase.PROMOTED))
    assert columns.reason(c) == "pod b can't be asked: timeout"
    assert columns.silent(situation(pod(), replace(hung, deleting=True))) == ""


ON = engine(Mode.ON)


@pytest.mark.parametrize(
    ("pods", "changes", "percent"),
    [
        ([pod("a"), pod("b")], {}, 0),
        ([pod("a", ON), pod("b", ON)], {}, 100),
        ([pod("a", ON), pod("b")], {}, 50),
        ([pod("a", ON, **MOVED), pod("b")], {"route": KEPT, "traffic": TrafficStatus(desired=20)}, 20),
        ([pod("a", **MOVED), pod("b")], {"route": KEPT, "traffic": TrafficStatus(desired=20)}, 0),
        ([pod("a", ON, **MOVED), pod("b")], {"traffic": TrafficStatus(desired=20)}, 0),
        ([pod("a", None, ready=False), pod("b", ON)], {}, 100),
        (
            [pod("a", ON, **MOVED), pod("b", ON), pod("c")],
            {"route": KEPT, "traffic": TrafficStatus(desired=20)},
            60,
        ),
        ([], {}, 0),
    ],
)
def test_the_share_that_meets_reuse(pods: list[EnginePod], changes: dict[str, Any], percent: int) -> None:
    assert columns.reuse(situation(*pods, status=status(Phase.CANARY, **changes))) == percent


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

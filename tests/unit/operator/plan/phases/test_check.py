"""Tests what is refused before anything is exposed, by the field's name, and how a refusal ends."""

from datetime import datetime
from typing import Any

import pytest
from indexcache_core.evidence.verdict import Verdict
from indexcache_operator.api.status import EvidenceStatus, Phase, QualityStatus, Rejected, Status, StepStatus
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.phases import check
from indexcache_operator.plan.wanted.targets import Targets

from tests.unit.operator.plan.build import REVISION, at, case, intent, pod, situation, snapshot, status, told
from tests.unit.operator.plan.phases.checking import REJECTED, THREE


def decided(*pods: EnginePod, **changes: Any) -> Status:
    seen = told({}, *(pods or THREE), **{"status": status(Phase.CHECKING, message="before"), **changes})
    return check.decide(situation(*seen.observation.pods, **{**changes, "status": seen.observation.status}))


def test_when_everything_is_there_shadow_begins() -> None:
    after = decided()
    assert (after.phase, after.phase_started_at) == (Phase.SHADOWING, at(0))
    assert "nobody is exposed" in after.message


def test_what_is_waited_for_is_named() -> None:
    after = decided(*THREE[:1], workload_current=False)
    assert (after.phase, after.phase_started_at) == (Phase.CHECKING, at(-10))
    assert (
        after.message
        == "Waiting: the engines' Deployment isn't as the spec wants it yet; 1 of 3 engines ready"
    )


@pytest.mark.parametrize(("began", "phase"), [(-9.9, Phase.CHECKING), (-10, Phase.FAILED)])
def test_a_missing_route_is_waited_for_a_while(began: float, phase: Phase) -> None:
    after = decided(route=None, status=status(Phase.CHECKING, phase_started_at=at(began)))
    assert after.phase is phase
    assert "not found" in after.message


def test_what_can_not_be_is_told_at_once_and_alone() -> None:
    after = decided(
        status=status(Phase.CHECKING, phase_started_at=at(0)),
        annotations={"indexcache.dev/kill": REVISION},
        route=None,
    )
    assert (after.phase, after.phase_started_at) == (Phase.FAILED, at(0))
    assert "indexcache.dev/kill" in after.message
    assert "httpRoute" not in after.message


def test_failed_says_what_fails_now_and_ends_with_it() -> None:
    failed = status(Phase.FAILED, message="before", phase_started_at=at(-3))
    still = decided(status=failed, route=None)
    assert (still.phase, still.phase_started_at) == (Phase.FAILED, at(-3))
    assert still.message.startswith("spec.traffic.httpRoute")
    assert decided(status=failed).phase is Phase.CHECKING


@pytest.mark.parametrize(
    ("problem", "words"), [("engine: missing", "spec: engine: missing"), (None, "spec: not readable")]
)
def test_a_spec_that_can_not_be_read(problem: str | None, words: str) -> None:
    c = situation(status=status(Phase.CHECKING), spec=None, spec_problem=problem)
    assert (check.decide(c).phase, check.decide(c).message) == (Phase.FAILED, words)


FRESH: dict[str, Any] = {
    "fallback": None,
    "quality": None,
    "evidence": (),
    "step": None,
    "canary_pods": (),
    "paused_at": "",
}
USED: dict[str, Any] = {
    "fallback": intent(of_revision="old"),
    "quality": QualityStatus(revision="old"),
    "evidence": (EvidenceStatus(guardrail="recall", verdict=Verdict.HOLDING, alpha=0.1),),
    "step": StepStatus(index=1, weight=50, started_at=at(-1)),
    "canary_pods": ("a",),
    "paused_at": at(-1),
}


def test_a_new_revision_begins_from_no_evidence() -> None:
    other = Rejected(revision="other", reason="x", at=at(-60))
    before = status(Phase.FELL_BACK, **USED, revision="old", rejected=(other, REJECTED), epoch=7)
    after = check.adopt(case(snapshot(status=before), before))
    assert after == status(
        Phase.CHECKING,
        **FRESH,
        message=after.message,
        phase_started_at=at(0),
        revision_started_at=at(0),
        rejected=(other, REJECTED),
        epoch=7,
    )
    retried = snapshot(status=before, annotations={"indexcache.dev/retry": REVISION})
    assert check.adopt(case(retried, before)).rejected == (other,)


@pytest.mark.parametrize(
    ("kept", "began"),
    [
        (status(Phase.CHECKING, revision="old"), at(0)),
        (status(Phase.PENDING), at(0)),
        (status(Phase.PENDING, revision=""), at(0)),
        (status(Phase.CHECKING), at(-100)),
        (status(Phase.CHECKING, rejected=(REJECTED,)), at(-100)),
    ],
)
def test_what_is_checked_is_the_specs_revision(kept: Status, began: datetime) -> None:
    after = decided(status=kept, workload_current=False)
    assert (after.revision, after.revision_started_at) == (REVISION, began)


def test_a_retry_begins_the_rejected_revision_anew() -> None:
    kept = status(Phase.FAILED, rejected=(REJECTED,))
    after = decided(status=kept, annotations={"indexcache.dev/retry": REVISION})
    assert (after.phase, after.rejected, after.revision_started_at) == (Phase.CHECKING, (), at(0))
    assert decided(status=kept).phase is Phase.FAILED


def test_while_nothing_is_tried_all_is_at_the_baseline() -> None:
    c = situation(pod("a"), pod("b", canary_label=True), pod("c", deleting=True))
    assert check.targets(c) == Targets(
        kinds={}, labels={"a": (True, False), "b": (True, False)}, backends=None
    )

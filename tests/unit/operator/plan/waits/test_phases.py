"""Tests what is waited for in each phase."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_operator.api.status import Origin, Phase, Rejected, StepStatus, WaitStatus
from indexcache_operator.plan.waits.phases import waiting

from tests.unit.operator.plan.build import REVISION, at, evidence, intent, pod, situation, status

CHECKED = WaitStatus(origin=Origin.PLATFORM, reason="EnginesNotReady")
STEP = StepStatus(index=0, weight=20, started_at=at(-9))


@pytest.mark.parametrize(
    ("phase", "changes", "reason"),
    [
        (Phase.CHECKING, {"waiting": CHECKED}, "EnginesNotReady"),
        (Phase.FAILED, {"waiting": CHECKED}, "EnginesNotReady"),
        (Phase.SHADOWING, {"waiting": CHECKED}, "RequestsWanted"),
        (Phase.CANARY, {"step": STEP}, "PodsNotReady"),
        (Phase.PROMOTING, {}, "Promoting"),
        (Phase.PROMOTED, {"waiting": CHECKED}, None),
        (Phase.FALLING_BACK, {"fallback": intent()}, "FallingBack"),
        (Phase.FELL_BACK, {"fallback": intent()}, "Killed"),
        (Phase.FELL_BACK, {}, "FellBack"),
    ],
)
def test_each_phase_waits_for_something_but_promoted(
    phase: Phase, changes: dict[str, Any], reason: str | None
) -> None:
    found = waiting(situation(pod(), status=status(phase, **changes), evidence=evidence()))
    assert (found.reason if found else None) == reason


def test_what_a_person_can_do_where_it_fell_back() -> None:
    def said(**changes: Any) -> tuple[Origin, str]:
        found = waiting(situation(pod(), status=status(Phase.FELL_BACK, **changes)))
        assert found is not None
        return found.origin, found.way_out

    breach = intent("EngineBreaker")
    rejected = (Rejected(revision=REVISION, reason="EngineBreaker", at=at(-9), retried=REVISION),)
    origin, way_out = said(fallback=breach, rejected=rejected)
    assert origin is Origin.PATTERN
    assert f'indexcache.dev/retry: "{REVISION}/2"' in way_out
    killed = replace(intent(), kill="true")
    assert said(fallback=killed) == (Origin.USER, "remove annotation indexcache.dev/kill to try it again")
    assert "indexcache.dev/retry" in said(fallback=killed, rejected=rejected)[1]  # by an earlier version


@pytest.mark.parametrize("phase", [Phase.PROMOTING, Phase.FALLING_BACK])
def test_what_is_under_way_goes_on_by_itself(phase: Phase) -> None:
    found = waiting(situation(pod(), status=status(phase, message="Turning reuse on")))
    assert found == WaitStatus(
        origin=Origin.PLATFORM,
        reason=phase.value,
        message="Turning reuse on",
        way_out="nothing need be done; status.pods says what each engine does",
    )


def test_all_is_told_of_what_fell_back() -> None:
    again = f'change spec.engine or spec.indexCache, or annotate indexcache.dev/retry: "{REVISION}"'
    assert waiting(situation(pod(), status=status(Phase.FELL_BACK, fallback=intent("Killed")))) == WaitStatus(
        origin=Origin.USER,
        reason="Killed",
        message="somebody who leads on",
        way_out=f"{again} to try it again",
    )


@pytest.mark.parametrize("phase", [Phase.SHADOWING, Phase.CANARY])
def test_without_a_spec_nothing_can_be_said_to_be_waited_for(phase: Phase) -> None:
    kept = status(phase, step=STEP, waiting=CHECKED)
    assert waiting(situation(pod(), status=kept, evidence=evidence(), spec=None)) is None


def test_another_revisions_rejection_says_nothing_of_this_one() -> None:
    other = (Rejected(revision="other", reason="EngineBreaker", at=at(-9)),)
    kept = status(Phase.FELL_BACK, fallback=replace(intent(), kill="true"), rejected=other)
    found = waiting(situation(pod(), status=kept))
    assert found is not None
    assert found.way_out == "remove annotation indexcache.dev/kill to try it again"


def test_pending_waits_for_what_the_checks_said() -> None:
    assert waiting(situation(pod(), status=status(Phase.PENDING, waiting=CHECKED))) == CHECKED

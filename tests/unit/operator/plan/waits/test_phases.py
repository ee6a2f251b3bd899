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

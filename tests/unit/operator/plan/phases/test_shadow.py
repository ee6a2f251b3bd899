"""Shadowing: when somebody may be exposed, and when the try ends without."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.evidence.verdict import Verdict
from indexcache_operator.api.status import Phase, Status, StepStatus
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Evidence
from indexcache_operator.plan.phases import shadow
from indexcache_operator.plan.phases.entering import MEASURING
from indexcache_operator.plan.wanted.targets import Targets

from tests.unit.operator.plan.build import (
    FOREIGN,
    KEPT,
    LEAST,
    QUALITY,
    REACHED,
    answer,
    at,
    evidence,
    hold,
    pod,
    reaches,
    route,
    situation,
    spec,
    status,
)

STEP = StepStatus(index=0, weight=20, started_at=at(0))
PAUSED = spec(paused=True)


def decided(
    requests: int,
    verdict: Verdict = Verdict.CERTIFIED,
    began: float = -10,
    measured: bool = True,
    **changes: Any,
) -> Status:
    memory = Memory(key="try", requests_seen=requests, data_at=at(-1) if measured else None)
    kept = status(Phase.SHADOWING, phase_started_at=at(began), message="measuring")
    return shadow.decide(situation(pod(), status=kept, memory=memory, evidence=evidence(verdict), **changes))


def test_evidence_and_enough_requests_lead_to_the_canary() -> None:
    after = decided(20)
    assert (after.phase, after.step, after.route, after.phase_started_at) == (Phase.CANARY, STEP, KEPT, at(0))
    assert "step by step" in after.message


def test_without_a_route_too() -> None:
    after = decided(20, spec=spec(traffic={}), route=None)
    assert (after.phase, after.route) == (Phase.CANARY, None)


@pytest.mark.parametrize(
    ("requests", "verdict", "changes"),
    [
        (19, Verdict.CERTIFIED, {}),
        (20, Verdict.HOLDING, {}),
        (20, Verdict.NO_DATA, {}),
        (20, Verdict.CERTIFIED, {"spec": PAUSED}),
    ],
)
def test_else_shadow_goes_on(requests: int, verdict: Verdict, changes: dict[str, Any]) -> None:
    after = decided(requests, verdict, **changes)
    assert (after.phase, after.message) == (Phase.SHADOWING, "measuring")


def test_a_route_that_lost_the_baseline_is_waited_for() -> None:
    after = decided(20, route=route(FOREIGN))
    assert (after.phase, after.route) == (Phase.SHADOWING, None)
    assert after.message.startswith("Waiting: the route")


@pytest.mark.parametrize(
    ("requests", "verdict", "measured"),
    [(20, Verdict.HOLDING, True), (19, Verdict.CERTIFIED, True), (19, Verdict.HOLDING, False)],
)
def test_no_deadline_ends_it_as_nobody_is_exposed(requests: int, verdict: Verdict, measured: bool) -> None:
    after = decided(requests, verdict, began=-1e6, measured=measured)
    assert (after.phase, after.fallback, after.rejected) == (Phase.SHADOWING, None, ())


def test_that_it_takes_longer_than_expected_is_said() -> None:
    kept = status(Phase.SHADOWING, phase_started_at=at(-60), message=MEASURING)
    after = shadow.decide(situation(pod(), status=kept, memory=Memory(key="try")))
    assert after.message == f"{MEASURING}. It takes longer than 1m"
    young = replace(kept, phase_started_at=at(-59.9))
    assert shadow.decide(situation(pod(), status=young, memory=Memory(key="try"))).message == MEASURING


def test_a_try_that_is_held_is_exposed_again_only_when_the_hold_is_over() -> None:
    def exposed(**changes: Any) -> bool:
        kept = status(Phase.SHADOWING, hold=hold(**changes))
        memory = Memory(key="try", requests_seen=20)
        after = shadow.decide(situation(pod(), status=kept, memory=memory, evidence=evidence()))
        assert after.hold == kept.hold  # so that the next pause is longer
        return after.phase is Phase.CANARY

    assert not exposed()
    assert exposed(not_before=at(0))


def test_paused_time_does_not_run_out() -> None:
    assert decided(0, Verdict.HOLDING, began=-999, spec=PAUSED).phase is Phase.SHADOWING


def test_quality_can_not_be_had_in_shadow() -> None:
    asked = spec(guardrails={"recall": {"min": 0.5}, **QUALITY})
    found = Evidence(
        answers=(answer("recall", Verdict.CERTIFIED), answer("quality", Verdict.NO_DATA, of_spec=asked)),
        reaches=reaches(REACHED, LEAST),
    )
    memory = Memory(key="try", requests_seen=20)
    assert (
        shadow.decide(situation(status=status(Phase.SHADOWING), memory=memory, evidence=found)).phase
        is Phase.CANARY
    )


def test_all_pods_measure_behind_the_baselines_service() -> None:
    c = situation(pod("a"), pod("b", canary_label=True), pod("c", deleting=True))
    assert shadow.targets(c) == Targets(
        kinds={"a": "shadow", "b": "shadow"}, labels={"a": (True, False), "b": (True, False)}, backends=None
    )

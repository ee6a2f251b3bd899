"""The canary's steps: how far exposure goes, when a step is over, and when the try is."""

from datetime import datetime
from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_core.evidence.freshness import OWN
from indexcache_core.evidence.traffic import Reached
from indexcache_core.evidence.verdict import Verdict
from indexcache_operator.api.status import Phase, Status, StepStatus, TrafficStatus
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Evidence, Situation
from indexcache_operator.plan.phases import canary
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT

from tests.unit.operator.plan.build import (
    FOREIGN,
    KEPT,
    MOVED,
    WITH_CANARY,
    at,
    but,
    engine,
    evidence,
    hold,
    measured,
    pod,
    route,
    situation,
    spec,
    told,
)
from tests.unit.operator.plan.phases.exposing import HOLDING, TIMED, A, exposing


def test_a_step_leads_to_the_next_with_its_own_time_and_count() -> None:
    after = canary.decide(exposing())
    assert (after.phase, after.requests_seen) == (Phase.CANARY, 0)
    assert after.step == StepStatus(index=1, weight=50, started_at=at(0))


def over(found: Evidence, own: int = OWN, **changes: Any) -> Situation:
    """Return the last step with its two pods exposed, and nothing left to be waited for but the evidence."""
    last = StepStatus(index=1, weight=50, started_at=at(-60), reached_at=at(-30))
    pods = [pod("a", **MOVED), pod("b", **MOVED), pod("c")]
    c = but(
        exposing(*pods, step=last, traffic=TrafficStatus(desired=50)), canary_pods=("a", "b"), hold=hold()
    )
    changes = {"route": WITH_CANARY, **changes}
    both = measured(told(dict.fromkeys("ab", ON_CANARY_PERMIT), *pods, status=c.status, **changes), own)
    return situation(
        *both.observation.pods,
        memory=Memory(key="try", drained_pods=A | {("b", "life")}),
        evidence=found,
        seen=c.seen,
        **{**changes, "status": both.observation.status},
    )


def test_the_last_step_leads_to_the_promotion() -> None:
    after = canary.decide(over(evidence()))
    assert (after.phase, after.step, after.phase_started_at) == (Phase.PROMOTING, None, at(0))
    assert after.hold is None
    assert "All steps certified" in after.message


def test_a_step_without_observations_of_its_own_is_not_over() -> None:
    assert canary.decide(over(evidence(), own=0)).phase is Phase.CANARY
    assert canary.decide(over(evidence(), own=OWN // 2 - 1)).phase is Phase.CANARY
    assert canary.decide(over(evidence(), own=OWN // 2)).phase is Phase.PROMOTING


def test_what_nothing_guards_is_promoted_as_unguarded() -> None:
    asked = spec(guardrails={"unguarded": True})
    after = canary.decide(over(Evidence(unguarded=True), spec=asked))
    assert after.phase is Phase.PROMOTING
    assert "All steps done, unguarded; " in after.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"verdict": Verdict.HOLDING}, "Step 1 of 2, 20 %: collecting evidence"),
        (
            {"step": StepStatus(index=0, weight=20, started_at=at(-60)), "reached": Reached.UNKNOWN},
            "waiting until the engines' counters show",
        ),
        ({"spec": spec(paused=True)}, "Step 1 of 2, 20 %: paused by spec.paused"),
    ],
)
def test_else_the_step_goes_on(change: dict[str, Any], words: str) -> None:
    after = canary.decide(exposing(**change))
    assert after.phase is Phase.CANARY
    assert after.step is not None
    assert (after.step.index, after.requests_seen) == (0, 9)
    assert words in after.message


@pytest.mark.parametrize(("reached", "over"), [(-29.9, False), (-30, True)])
def test_a_step_lasts_as_long_as_it_is_told(reached: float, over: bool) -> None:
    step = StepStatus(index=0, weight=20, started_at=at(-60), reached_at=at(reached))
    after = canary.decide(exposing(step=step, spec=spec(strategy=TIMED)))
    assert after.step is not None
    assert (after.step.index == 1) is over


def reached_at(c: Situation) -> datetime | None:
    after = canary.decide(c)
    assert after.step is not None
    return after.step.reached_at


FRESH = StepStatus(index=0, weight=20, started_at=at(-60))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"reached": Reached.YES}, at(0)),
        ({"reached": Reached.UNKNOWN}, None),
        ({"reached": Reached.NO}, None),
        (
            {"reached": Reached.YES, "traffic": TrafficStatus(desired=5)},
            None,
        ),  # what was seen is the weight before
        ({"reached": Reached.UNKNOWN, "routed": False, "route": route(FOREIGN)}, at(0)),
        ({"reached": Reached.YES, "drained": frozenset()}, None),
    ],
)
def test_a_weight_is_reached_when_the_counters_show_it(change: dict[str, Any], expected: str | None) -> None:
    assert reached_at(exposing(step=FRESH, verdict=HOLDING, **change)) == expected


def test_a_weight_once_reached_keeps_its_time_while_the_pods_justify_it() -> None:
    assert reached_at(exposing(verdict=HOLDING, reached=Reached.NO)) == at(-30)
    assert reached_at(exposing(verdict=HOLDING, drained=frozenset())) is None


def test_the_weight_wanted_is_what_the_confirmed_pods_justify() -> None:
    assert canary.decide(exposing(verdict=HOLDING)).traffic == TrafficStatus(desired=20)
    before = TrafficStatus(desired=20, verified_generation=4)
    less = canary.decide(exposing(verdict=HOLDING, drained=frozenset(), traffic=before))
    assert less.traffic == TrafficStatus(desired=0, previous=20)
    more = canary.decide(exposing(verdict=HOLDING, traffic=TrafficStatus()))
    assert more.traffic == TrafficStatus(desired=20, previous=0)


def test_a_changed_weight_of_the_step_under_way_is_followed() -> None:
    asked = spec(strategy={**TIMED, "steps": [{"weight": 30}, {"weight": 50}]})
    after = canary.decide(exposing(verdict=HOLDING, spec=asked))
    assert after.step is not None
    assert (after.step.weight, after.traffic.desired) == (30, 30)


@pytest.mark.parametrize("step", [None, StepStatus(index=2, weight=50, started_at=at(-1))])
def test_a_step_that_the_spec_no_longer_has_ends_the_try(step: StepStatus | None) -> None:
    after = canary.decide(but(exposing(), step=step))
    assert after.fallback is not None
    assert (after.phase, after.fallback.cause) == (Phase.FALLING_BACK, "Superseded")
    assert "spec.strategy.steps" in after.fallback.message


def test_what_stands_in_the_way_is_named() -> None:
    pods = [pod("a", baseline_label=False), pod("b", baseline_label=False), pod("c")]
    c = exposing(
        *pods,
        drained=frozenset(),
        step=StepStatus(index=1, weight=50, started_at=at(-1)),
        traffic=TrafficStatus(),
    )
    after = canary.decide(c)
    assert after.canary_pods == ("a", "b")
    assert after.message == (
        "Step 2 of 2, 50 %: 2 of 2 pods chosen, waiting until no user's request comes to a, b any more; 0 "
        "% for now"
    )
    assert (
        "comes to b any more"
        in canary.decide(exposing(*pods, step=c.status.step, traffic=TrafficStatus())).message
    )


def test_where_all_left_their_engines_are_waited_for() -> None:
    both = A | {("b", "life")}
    pods = [pod("a", **MOVED), pod("b", engine(Mode.SHADOW), baseline_label=False), pod("c")]
    c = exposing(
        *pods, drained=both, step=StepStatus(index=1, weight=50, started_at=at(-1)), traffic=TrafficStatus()
    )
    assert "waiting until all confirm reuse; 25 % for now" in canary.decide(c).message


def test_who_is_confirmed_is_written_down() -> None:
    after = canary.decide(exposing(verdict=HOLDING))
    assert {p.name: p.confirmed for p in after.pods} == {"a": "life", "b": "", "c": ""}


def test_a_route_put_back_by_the_user_is_the_original_now() -> None:
    other = {**FOREIGN, "weight": 9}
    after: Status = canary.decide(exposing(verdict=HOLDING, route=route(other, *KEPT.original_backends[1:])))
    assert after.route is not None
    assert after.route.original_backends[0] == other


def test_with_a_route_one_pod_stays_at_the_baseline_whatever_the_weight() -> None:
    two = {"image": "engine:1", "model": "/model", "replicas": 2}
    all_of_it = spec(engine=two, strategy={**TIMED, "steps": [{"weight": 100}]})
    step = StepStatus(index=0, weight=100, started_at=at(-1))
    after = canary.decide(exposing(pod("a", **MOVED), pod("b"), spec=all_of_it, step=step, verdict=HOLDING))
    assert (after.canary_pods, after.traffic.desired) == (("a",), 100)


def test_the_next_step_is_the_next_in_the_spec() -> None:
    three = spec(strategy={**TIMED, "steps": [{"weight": 20}, {"weight": 30}, {"weight": 60}]})
    after = canary.decide(exposing(spec=three))
    assert after.step is not None
    assert (after.step.index, after.step.weight) == (1, 30)

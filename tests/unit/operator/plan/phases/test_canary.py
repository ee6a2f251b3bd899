"""The canary's steps: how far exposure goes, when a step is over, and when the try is."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from indexcache_core.contract import Mode, Work
from indexcache_core.evidence.traffic import Reached
from indexcache_core.evidence.verdict import Verdict
from indexcache_core.histogram import of
from indexcache_operator.api.status import Origin, Phase, Status, StepStatus, TrafficStatus
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts.endings import ending
from indexcache_operator.plan.facts.memory import Memory, TestKey
from indexcache_operator.plan.facts.situation import Evidence, Seen, Situation
from indexcache_operator.plan.phases import canary
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT, SHADOW
from indexcache_operator.plan.wanted.targets import Targets

from tests.unit.operator.plan.build import (
    FOREIGN,
    KEPT,
    MOVED,
    WANTED,
    WITH_CANARY,
    answer,
    at,
    but,
    engine,
    evidence,
    judgement,
    pace,
    pod,
    route,
    situation,
    spec,
    status,
    told,
)

TIMED = {
    "shadow": {"minRequests": 20, "timeout": "60s"},
    "steps": [{"weight": 20, "minDuration": "30s"}, {"weight": 50}],
    "progressDeadline": "120s",
}
A = frozenset({("a", "life")})


def exposing(
    *pods: EnginePod,
    drained: frozenset[tuple[str, str]] = A,
    reached: Reached = Reached.YES,
    verdict: Verdict = Verdict.CERTIFIED,
    traffic: TrafficStatus | None = None,
    step: StepStatus | None = None,
    routed: bool = True,
    **changes: Any,
) -> Situation:
    """Return the first step with its one pod exposed and its weight in the route, but for what a test
    says."""
    pods = pods or (pod("a", **MOVED), pod("b"), pod("c"))
    kept = status(
        canary_pods=("a",),
        route=KEPT if routed else None,
        step=step or StepStatus(index=0, weight=20, started_at=at(-60), reached_at=at(-30)),
        traffic=traffic or TrafficStatus(desired=20),
        requests_seen=9,
    )
    changes = {"route": WITH_CANARY, **changes}
    seen = told({"a": ON_CANARY_PERMIT}, *pods, status=kept, **changes)
    return situation(
        *seen.observation.pods,
        status=seen.observation.status,
        memory=Memory(key="try", drained_pods=drained),
        evidence=evidence(verdict),
        seen=Seen(reached=reached),
        **changes,
    )


def test_a_step_leads_to_the_next_with_its_own_time_and_count() -> None:
    after = canary.decide(exposing())
    assert (after.phase, after.requests_seen) == (Phase.CANARY, 0)
    assert after.step == StepStatus(index=1, weight=50, started_at=at(0))


def test_the_last_step_leads_to_the_promotion() -> None:
    last = StepStatus(index=1, weight=50, started_at=at(-60), reached_at=at(-30))
    pods = [pod("a", **MOVED), pod("b", **MOVED), pod("c")]
    c = exposing(*pods, step=last, traffic=TrafficStatus(desired=50))
    c = but(c, canary_pods=("a", "b"))
    told_both = told(
        {"a": ON_CANARY_PERMIT, "b": ON_CANARY_PERMIT}, *pods, status=c.status, route=WITH_CANARY
    )
    memory = Memory(key="try", drained_pods=A | {("b", "life")})
    after = canary.decide(
        situation(
            *told_both.observation.pods,
            status=told_both.observation.status,
            memory=memory,
            evidence=evidence(),
            seen=c.seen,
            route=WITH_CANARY,
        )
    )
    assert (after.phase, after.step, after.phase_started_at) == (Phase.PROMOTING, None, at(0))
    assert "All steps certified" in after.message


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
HOLDING = Verdict.HOLDING


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


LATE = StepStatus(index=0, weight=20, started_at=at(-120), reached_at=at(-1))
UNREACHED = replace(LATE, reached_at=None)


@pytest.mark.parametrize(
    ("change", "cause", "words"),
    [
        ({"step": UNREACHED, "reached": Reached.UNKNOWN}, "TooLittleTraffic", "more requests tell whether"),
        ({"step": UNREACHED, "reached": Reached.NO}, "PlatformNotReady", "requests don't come by weight 20"),
        (
            {"step": UNREACHED, "reached": Reached.UNKNOWN, "came": 999},
            "PlatformNotReady",
            "though 999 requests",
        ),
        ({"step": LATE, "histogram": of([0.7] * 4)}, "TooLittleTraffic", "more observations of recall"),
        ({"step": LATE, "histogram": of([0.4] * 90)}, "Undecided", "too near its threshold"),
    ],
)
def test_out_of_time_it_is_held_and_told_whose_doing_that_is(
    change: dict[str, Any], cause: str, words: str
) -> None:
    def late(**more: Any) -> Status:
        changes = {**change, **more}
        came, histogram = changes.pop("came", 3), changes.pop("histogram", of([0.7] * 4))
        c = exposing(verdict=HOLDING, **changes)
        found = {TestKey("recall", None, 3, Work.PREFILL): judgement(HOLDING, histogram)}
        memory = replace(c.memory, pace=pace(came))
        return canary.decide(
            replace(
                c,
                memory=memory,
                evidence=Evidence(answers=(answer("recall", HOLDING, found),), wanted=WANTED),
            )
        )

    after = late()
    assert after.fallback is not None
    assert (after.phase, after.fallback.cause, after.fallback.origin) == (
        Phase.FALLING_BACK,
        cause,
        ending(cause).origin,
    )
    assert words in after.fallback.message
    assert after.hold is not None
    assert (after.hold.cause, after.hold.not_before) == (cause, at(120))
    assert (after.hold.requests_per_minute_needed is not None) is (cause == "TooLittleTraffic")
    assert late(step=replace(change["step"], started_at=at(-119.9))).phase is Phase.CANARY
    assert late(spec=spec(paused=True)).phase is Phase.CANARY


def test_a_deadline_waits_until_it_can_be_told_whose_doing_it_is() -> None:
    c = exposing(verdict=HOLDING, step=UNREACHED, reached=Reached.UNKNOWN)
    assert canary.decide(c).phase is Phase.CANARY
    young = replace(c, memory=replace(c.memory, pace=pace(3, minutes=0.4)))
    assert canary.decide(young).phase is Phase.CANARY


def test_a_step_that_lasts_longer_than_its_deadline_is_the_users_wish() -> None:
    asked = spec(strategy={**TIMED, "steps": [{"weight": 20, "minDuration": "10m"}, {"weight": 50}]})
    c = exposing(step=LATE, spec=asked)
    assert canary.decide(replace(c, memory=replace(c.memory, pace=pace(99)))).phase is Phase.CANARY


def test_a_canary_whose_guardrails_are_taken_away_is_held_too() -> None:
    c = exposing(step=LATE, spec=spec(guardrails={}))
    c = replace(c, memory=replace(c.memory, pace=pace(99)), evidence=Evidence())
    after = canary.decide(c)
    assert after.fallback is not None
    assert (after.fallback.cause, after.fallback.origin) == ("NothingActs", Origin.USER)


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


def test_reuse_is_turned_on_where_nobody_comes_any_more() -> None:
    c = exposing(pod("a", baseline_label=False), pod("b"), pod("c", deleting=True))
    assert canary.targets(c).kinds == {"a": ON_CANARY_PERMIT, "b": SHADOW}
    waiting = exposing(pod("a", baseline_label=False), pod("b"), drained=frozenset())
    assert canary.targets(waiting).kinds == {"a": SHADOW, "b": SHADOW}
    elsewhere = exposing(pod("a"), pod("b"), drained=frozenset({("b", "life")}))
    assert canary.targets(elsewhere).kinds == {"a": SHADOW, "b": SHADOW}


def weights(found: Targets) -> list[tuple[str, int]] | None:
    return None if found.backends is None else [(b["name"], b["weight"]) for b in found.backends]


def test_labels_and_route_follow() -> None:
    found = canary.targets(exposing())
    assert found.labels == {"a": (False, True), "b": (True, False), "c": (True, False)}
    assert weights(found) == [("other", 100), ("chat-baseline", 160), ("chat-canary", 40)]


@pytest.mark.parametrize("exposed", [pod("a", baseline_label=False), pod("a", ready=False, **MOVED)])
def test_a_weight_waits_for_a_ready_pod_behind_the_canarys_service(exposed: EnginePod) -> None:
    assert canary.targets(exposing(exposed, pod("b"))).backends is None
    assert canary.targets(exposing(exposed, pod("b", canary_label=True))).backends is None
    none = canary.targets(exposing(exposed, pod("b"), traffic=TrafficStatus(desired=0)))
    assert weights(none) == [("other", 1), ("chat-baseline", 2)]


def test_one_percent_is_a_weight_too() -> None:
    exposed = pod("a", baseline_label=False)
    assert canary.targets(exposing(exposed, pod("b"), traffic=TrafficStatus(desired=1))).backends is None


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

"""Tests what a step of the canary waits for."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Mode, Requests
from indexcache_core.evidence.traffic import Reached
from indexcache_core.evidence.verdict import Verdict
from indexcache_core.histogram import Histogram, of
from indexcache_core.probe_ids import ProbeRun
from indexcache_operator.api.status import Origin, TrafficStatus, WaitStatus
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts.memory import Memory, TestKey
from indexcache_operator.plan.facts.reach import UNBOUNDED
from indexcache_operator.plan.facts.situation import Evidence, Seen
from indexcache_operator.plan.waits import step as steps
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT

from tests.unit.operator.plan.build import (
    KEPT,
    MOVED,
    QUALITY,
    WITH_CANARY,
    answer,
    engine,
    granted,
    judgement,
    pace,
    pod,
    route,
    situation,
    spec,
    status,
    told,
)
from tests.unit.operator.plan.waits.stepping import NONE_YET, STEP, UNREACHED, wait

BUSY = engine(Mode.SHADOW, requests=Requests(running_baseline=2))


@pytest.mark.parametrize(
    ("pods", "changes", "origin", "reason", "words"),
    [
        (
            [],
            {"verdict": Verdict.HOLDING, "histogram": of([0.8] * 2)},
            Origin.TRAFFIC,
            "EvidenceWanted",
            "observations of recall",
        ),
        ([], {"spec": spec(paused=True)}, Origin.USER, "Paused", "paused"),
        (
            [pod("a", None, error="timeout", **MOVED), pod("b"), pod("c")],
            {"traffic": NONE_YET},
            Origin.PLATFORM,
            "PodsNotReady",
            "pod a can't be asked: timeout",
        ),
        (
            [pod("a", ready=False, problem="OOMKilled", **MOVED), pod("b"), pod("c")],
            {"traffic": NONE_YET},
            Origin.PLATFORM,
            "PodsNotReady",
            "pod a isn't ready: OOMKilled",
        ),
        (
            [pod("b"), pod("c", ready=False)],
            {"traffic": NONE_YET},
            Origin.PLATFORM,
            "PodsNotReady",
            "pod c isn't ready; 0 of 1 pods can be exposed",
        ),
        (
            [],
            {"traffic": NONE_YET, "drained": False},
            Origin.TRAFFIC,
            "PodsDraining",
            "a: about 39 more requests show that none comes there",
        ),
        (
            [],
            {"traffic": NONE_YET, "drained": False, "came": 200},
            Origin.PLATFORM,
            "PodsDraining",
            "requests still come there",
        ),
        (
            [pod("a", BUSY, **MOVED), pod("b"), pod("c")],
            {"traffic": NONE_YET, "drained": False},
            Origin.TRAFFIC,
            "PodsDraining",
            "a: 2 requests that run there end first",
        ),
        ([], {"traffic": NONE_YET}, Origin.PLATFORM, "ReuseNotConfirmed", "reuse isn't confirmed yet"),
        (
            [],
            {"step": UNREACHED, "traffic": TrafficStatus(desired=20, previous=5)},
            Origin.TRAFFIC,
            "WeightNotSeen",
            "more requests tell whether weight 20 holds",
        ),
        (
            [],
            {"step": UNREACHED, "came": 500},
            Origin.PLATFORM,
            "WeightNotSeen",
            "weight 20 isn't seen, though 500 requests came",
        ),
        (
            [],
            {"step": UNREACHED, "seen": Seen(reached=Reached.NO, percent=3)},
            Origin.PLATFORM,
            "WeightNotSeen",
            "about 3 % was seen",
        ),
        (
            [],
            {"step": UNREACHED, "route": route(*WITH_CANARY.backends, accepted_generation=4)},
            Origin.PLATFORM,
            "RouteNotAccepted",
            "no gateway has accepted",
        ),
        (
            [],
            {"spec": spec(strategy={"steps": [{"weight": 20, "minDuration": "10m"}]})},
            Origin.USER,
            "MinDuration",
            "nothing but minDuration, which ends at 2026-01-01T00:09:30.000Z",
        ),
    ],
)
def test_what_a_step_waits_for(
    pods: list[EnginePod], changes: dict[str, Any], origin: Origin, reason: str, words: str
) -> None:
    found = wait(*pods, **changes)
    assert found is not None
    assert (found.origin, found.reason) == (origin, reason)
    assert words in found.message
    assert found.way_out


def test_a_step_that_is_over_waits_for_nothing() -> None:
    assert wait() is None


def test_how_many_requests_would_do_is_said_for_what_comes_after_too() -> None:
    alone = wait(step=UNREACHED, traffic=TrafficStatus(desired=20, previous=0))
    more = wait(
        step=UNREACHED,
        traffic=TrafficStatus(desired=20, previous=0),
        verdict=Verdict.HOLDING,
        histogram=of([0.8] * 2),
    )
    assert alone is not None
    assert more is not None
    assert alone.requests_per_minute_needed is not None
    assert more.requests_per_minute_needed is not None
    assert more.requests_per_minute_needed > alone.requests_per_minute_needed > 0


@pytest.mark.parametrize(
    ("runs", "found", "reason", "words"),
    [
        (None, Histogram(), "PluginTooOld", "doesn't tell how a probe was computed"),
        ((), Histogram(), "NoProbeAnswered", "a serves nobody yet: no probe was answered"),
        ((), of([1.0] * 90), "ProbesWanted", "a serves nobody yet: 90 more observations of disasters"),
    ],
)
def test_before_users_are_sent_to_a_pod_probes_are_waited_for(
    runs: tuple[ProbeRun, ...] | None, found: Histogram, reason: str, words: str
) -> None:
    """The plugin of an earlier release is asked nothing, so nothing would ever be certified."""
    asked = spec(guardrails={"recall": {"min": 0.5}, **QUALITY})
    lost = replace(judgement(Verdict.HOLDING, found), threshold=0.98, binary=True)
    answers = (
        answer("recall", Verdict.CERTIFIED, of_spec=asked),
        answer("disasters", Verdict.HOLDING, {TestKey("disasters"): lost}, asked),
    )
    pods = (pod("a", engine(probe_runs=runs), **MOVED), pod("b"), pod("c"))
    kept = status(canary_pods=("a",), route=KEPT, step=STEP, traffic=NONE_YET)
    changes: dict[str, Any] = {"spec": asked, "route": WITH_CANARY}
    look = told({"a": ON_CANARY_PERMIT}, *pods, status=kept, **changes).observation
    memory = Memory(key="try", drained_pods=frozenset({("a", "life")}), pace=pace(3))
    evidence = Evidence(answers=answers)
    c = situation(*look.pods, status=look.status, memory=memory, evidence=evidence, **changes)
    said = steps.waiting(c)
    assert said is not None
    assert (said.reason, words in said.message) == (reason, True), said.message
    if runs is None:
        runtime = "set spec.engine.runtime to this release's plugin, or take quality out of spec.guardrails"
        assert said.way_out == runtime


def test_a_pod_whose_plugin_knows_no_reach_is_named() -> None:
    pods = (pod("a", engine(contract=1), **MOVED), pod("b"), pod("c"))
    kept = status(canary_pods=("a",), route=KEPT, step=STEP, traffic=NONE_YET, reach=granted(64))
    memory = Memory(key="try", drained_pods=frozenset({("a", "life")}), pace=pace(3))
    said = steps.waiting(situation(*pods, status=kept, memory=memory, route=WITH_CANARY))
    assert said is not None
    assert (said.reason, said.message.startswith("a: its plugin")) == ("PluginTooOld", True)
    assert said.way_out == "set spec.engine.runtime to this release's plugin"
    own = replace(kept, reach=granted(64, UNBOUNDED))  # its own reach, not that of the others
    unbounded = situation(*pods, status=own, memory=memory, route=WITH_CANARY)
    other = steps.waiting(unbounded)
    assert other is not None
    assert other.reason == "ReuseNotConfirmed"


def test_a_pod_that_answered_no_probe_yet_is_waited_for_though_all_probes_are_certified() -> None:
    asked = spec(guardrails={"recall": {"min": 0.5}, **QUALITY})
    pods = (pod("a", engine(probe_runs=()), **MOVED), pod("b"), pod("c"))
    kept = status(canary_pods=("a",), route=KEPT, step=STEP, traffic=NONE_YET)
    memory = Memory(key="try", drained_pods=frozenset({("a", "life")}), pace=pace(3))
    c = situation(*pods, status=kept, memory=memory, route=WITH_CANARY, spec=asked)
    assert steps.waiting(c) == WaitStatus(
        origin=Origin.PLATFORM,
        reason="ReuseNotConfirmed",
        message="a: reuse isn't confirmed yet by a first probe",
        way_out="look at status.pods for what the engines say",
    )

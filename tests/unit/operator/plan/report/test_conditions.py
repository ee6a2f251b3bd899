"""Conditions, each by what it is read from."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from indexcache_core.contract import Mode, Requests, Steps
from indexcache_core.evidence.traffic import Reached
from indexcache_operator.api.status import Condition, Origin, Phase, PodStatus, TrafficStatus, WaitStatus
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts import measuring
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Seen, Situation
from indexcache_operator.plan.report.conditions import FRESH, MEASURING, conditions
from indexcache_operator.plan.waits import own
from indexcache_operator.plan.wanted.flags import ON_PROMOTED_PERMIT

from tests.unit.operator.plan.build import (
    KEPT,
    NOW,
    at,
    engine,
    evidence,
    granted,
    intent,
    pod,
    situation,
    spec,
    status,
    told,
)

ENDED = {Phase.PROMOTED, Phase.FELL_BACK, Phase.FAILED}


def read(c: Situation, type_: str) -> tuple[str, str]:
    found = next(x for x in conditions(c) if x.type == type_)
    return found.status, found.reason


def words(c: Situation, type_: str) -> str:
    return next(x for x in conditions(c) if x.type == type_).message


@pytest.mark.parametrize("phase", Phase)
def test_one_of_ready_reconciling_and_stalled_is_true(phase: Phase) -> None:
    c = situation(status=status(phase, message="m"))
    assert read(c, "Ready") == ("True" if phase is Phase.PROMOTED else "False", phase.value)
    assert read(c, "Reconciling") == ("False" if phase in ENDED else "True", phase.value)
    assert read(c, "Stalled") == ("True" if phase in ENDED - {Phase.PROMOTED} else "False", phase.value)
    assert words(c, "Ready") == "m"
    assert words(c, "Reconciling") == ("" if phase in ENDED else "m")
    assert words(c, "Stalled") == ("m" if phase in ENDED - {Phase.PROMOTED} else "")


def test_who_fell_back_is_stalled_by_the_cause() -> None:
    c = situation(status=status(Phase.FELL_BACK, fallback=intent("Killed")))
    assert (read(c, "Ready"), read(c, "Stalled")) == (("False", "Killed"), ("True", "Killed"))
    assert read(situation(status=status(fallback=intent("Killed"))), "Ready") == ("False", "Canary")


def test_all_of_them_in_one_order_with_the_generation() -> None:
    out = conditions(situation())
    assert [c.type for c in out] == [
        "Ready",
        "Reconciling",
        "Stalled",
        "Paused",
        "Waiting",
        "EnginesAnswer",
        "BaselineActive",
        "TrafficVerified",
        "EvidenceFresh",
        "OperatorHealthy",
        "CommandsObeyed",
        "RuntimeCurrent",
    ]
    assert {c.observed_generation for c in out} == {3}


def test_the_time_of_a_condition_is_that_of_its_last_change() -> None:
    old = [
        Condition(type="Ready", status="False", reason="Shadowing", last_transition_time=at(-50)),
        Condition(type="Reconciling", status="False", reason="Failed", last_transition_time=at(-50)),
    ]
    out = {c.type: c.last_transition_time for c in conditions(situation(status=status(conditions=old)))}
    assert (out["Ready"], out["Reconciling"], out["Stalled"]) == (at(-50), at(0), at(0))


NAMED = spec(engine={"image": "engine:1", "model": "/model", "runtime": "runtime:3"})


@pytest.mark.parametrize(
    ("pinned", "asked", "offered", "expected"),
    [
        ("runtime:1", spec(), "runtime:1", ("True", "AsOffered")),
        ("runtime:1", spec(), "runtime:2", ("False", "OtherOffered")),
        ("runtime:1", None, "runtime:2", ("False", "OtherOffered")),
        ("runtime:1", NAMED, "runtime:3", ("True", "AsOffered")),
        ("runtime:1", NAMED, "runtime:1", ("False", "OtherOffered")),
        ("", spec(), "runtime:1", ("Unknown", "NotKnown")),
        ("runtime:1", spec(), "", ("Unknown", "NotKnown")),
    ],
)
def test_another_plugin_that_the_operator_comes_with_is_offered(
    pinned: str, asked: Any, offered: str, expected: tuple[str, str]
) -> None:
    c = situation(spec=asked, status=status(runtime=pinned), offered_runtime=offered)
    assert read(c, "RuntimeCurrent") == expected
    if expected[1] == "OtherOffered":
        used = "runtime:3" if asked is NAMED else pinned
        assert f"from {used}, this operator comes with {offered}; set spec.engine.runtime" in words(
            c, "RuntimeCurrent"
        )


@pytest.mark.parametrize(
    ("asked", "expected", "said"),
    [
        (spec(paused=True), ("True", "Requested"), "spec.paused"),
        (spec(), ("False", "NotRequested"), ""),
        (None, ("False", "NotRequested"), ""),
    ],
)
def test_paused(asked: Any, expected: tuple[str, str], said: str) -> None:
    c = situation(spec=asked)
    assert read(c, "Paused") == expected
    assert words(c, "Paused").startswith(said)
    assert bool(words(c, "Paused")) == bool(said)


LAPSING = [PodStatus(name="b", permit=timedelta(seconds=60))]


@pytest.mark.parametrize(
    ("pods", "kept", "expected", "said"),
    [
        ([pod("a"), pod("b", engine(Mode.SHADOW))], {}, ("True", "ReuseOff"), "no engine runs reuse"),
        (
            [pod("a"), pod("b", engine(Mode.ON)), pod("c", engine(Mode.ON), deleting=True)],
            {},
            ("False", "ReuseOn"),
            "runs on b, c",
        ),
        ([pod("a", engine(Mode.ON)), pod("b", None)], {"pods": LAPSING}, ("False", "ReuseOn"), "runs on a"),
        ([pod("a"), pod("b", None)], {"pods": LAPSING}, ("Unknown", "Unreachable"), "b can't be asked"),
        ([pod("a"), pod("b", None)], {}, ("True", "ReuseOff"), "no engine"),
        (
            [pod("b", None)],
            {"pods": LAPSING, "fallback": intent(since=-64)},
            ("Unknown", "Unreachable"),
            "b can't",
        ),
        (
            [pod("b", None)],
            {"pods": LAPSING, "fallback": intent(since=-66)},
            ("True", "ReuseOff"),
            "no engine",
        ),
    ],
)
def test_the_baseline_is_active_where_no_engine_may_run_reuse(
    pods: list[EnginePod], kept: dict[str, Any], expected: tuple[str, str], said: str
) -> None:
    c = situation(*pods, status=status(**kept))
    assert read(c, "BaselineActive") == expected
    assert said in words(c, "BaselineActive")


@pytest.mark.parametrize(
    ("traffic", "routed", "reached", "expected", "said"),
    [
        (TrafficStatus(), False, Reached.UNKNOWN, ("Unknown", "NoCanary"), "no traffic"),
        (TrafficStatus(verified_generation=5), False, Reached.UNKNOWN, ("True", "SeenByEngines"), "show 0 %"),
        (
            TrafficStatus(desired=20, verified_generation=5),
            True,
            Reached.NO,
            ("True", "SeenByEngines"),
            "show 20 %",
        ),
        (TrafficStatus(desired=20), True, Reached.NO, ("False", "NotAsRouted"), "20 % wanted"),
        (
            TrafficStatus(desired=20, observed=3),
            True,
            Reached.UNKNOWN,
            ("False", "NotAsRouted"),
            "20 % wanted",
        ),
        (
            TrafficStatus(desired=20, observed=20),
            True,
            Reached.UNKNOWN,
            ("Unknown", "TooFewRequests"),
            "don't tell 20 %",
        ),
        (TrafficStatus(desired=20), True, Reached.UNKNOWN, ("Unknown", "TooFewRequests"), "don't tell"),
    ],
)
def test_traffic_is_verified_by_the_engines(
    traffic: TrafficStatus, routed: bool, reached: Reached, expected: tuple[str, str], said: str
) -> None:
    c = situation(status=status(traffic=traffic, route=KEPT if routed else None), seen=Seen(reached=reached))
    assert read(c, "TrafficVerified") == expected
    assert said in words(c, "TrafficVerified")


@pytest.mark.parametrize("phase", Phase)
def test_evidence_is_fresh_while_something_is_measured(phase: Phase) -> None:
    def fresh(data_at: datetime | None) -> tuple[str, str]:
        return read(
            situation(status=status(phase), memory=Memory(key="try", data_at=data_at)), "EvidenceFresh"
        )

    if phase in MEASURING:
        assert fresh(NOW - FRESH) == ("True", "Measuring")
        assert fresh(at(-0.1) - FRESH) == fresh(None) == ("Unknown", "NoNewData")
    else:
        assert fresh(at(0)) == ("Unknown", "NotMeasuring")


@pytest.mark.parametrize("came", [own.SHOULD - 1, own.SHOULD, 2 * own.SHOULD])
def test_evidence_is_stale_by_requests_that_were_not_measured(came: int) -> None:
    seen = told({"a": ON_PROMOTED_PERMIT}, pod(), status=status(Phase.PROMOTED))
    kept = measuring.note(seen, seen.observation.status)
    state = seen.observation.pods[0].state
    assert state is not None
    requests = Requests(admitted_reuse=came, contexts=(0, 0, 0, came, 0, 0, 0, 0, 0))
    now = pod("a", state.model_copy(update={"requests": requests, "steps": Steps(reuse=came)}))
    c = situation(now, status=kept, evidence=evidence(), memory=Memory(key="try", data_at=at(0)))
    stale = came >= own.SHOULD
    assert read(c, "EvidenceFresh") == (("False", "NothingMeasured") if stale else ("True", "Measuring"))
    said = "a measured nothing of 200 requests under reuse and more that are long enough"
    assert words(c, "EvidenceFresh") == (said if stale else "")


def test_what_is_said_of_evidence() -> None:
    assert words(situation(), "EvidenceFresh") == "nothing was measured for 60 s"
    assert words(situation(memory=Memory(key="try", data_at=at(0))), "EvidenceFresh") == ""
    assert words(situation(status=status(Phase.FAILED)), "EvidenceFresh") == ""


def test_what_could_not_be_read_is_named() -> None:
    assert read(situation(), "OperatorHealthy") == ("True", "LooksSucceed")
    blind = situation(unread=("ConfigMap p: 403", "HTTPRoute users: 500"))
    assert read(blind, "OperatorHealthy") == ("False", "ReadsFailed")
    assert "ConfigMap p: 403; HTTPRoute users: 500" in words(blind, "OperatorHealthy")


def test_fields_of_a_newer_version_pause_it_by_name() -> None:
    seen = situation(unknown_fields=("spec.later", "spec.engine.more"))
    assert read(seen, "Paused") == ("True", "UnknownFields")
    assert "doesn't know spec.later, spec.engine.more" in words(seen, "Paused")


WAIT = WaitStatus(
    origin=Origin.TRAFFIC,
    reason="EvidenceWanted",
    message="46 more observations of recall",
    requests_per_minute=3.2,
    requests_per_minute_needed=7.0,
    expected="20m",
    way_out="send it more traffic",
)


@pytest.mark.parametrize(
    ("wait", "said"),
    [
        (
            WAIT,
            "Traffic: 46 more observations of recall; 3.2 requests a minute come, about 7 would be "
            "needed. Send it more traffic",
        ),
        (
            replace(WAIT, expected="", requests_per_minute=None, way_out=""),
            "Traffic: 46 more observations of recall; unknown requests a minute come, about 7 would be "
            "needed",
        ),
        (replace(WAIT, expected="", requests_per_minute_needed=None, way_out=""), f"Traffic: {WAIT.message}"),
    ],
)
def test_a_wait_is_told_with_its_estimate_and_its_way_out(wait: WaitStatus, said: str) -> None:
    c = situation(status=status(waiting=wait))
    assert read(c, "Waiting") == ("True", "EvidenceWanted")
    assert words(c, "Waiting") == said
    assert read(situation(), "Waiting") == ("False", "NothingAwaited")


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([], ("Unknown", "NoPods")),
        ([pod("a")], ("True", "AllDo")),
        ([pod("a"), pod("b", None, error="timeout")], ("False", "SomeDont")),
        ([pod("a", ready=False)], ("False", "SomeDont")),
    ],
)
def test_a_pod_that_hangs_is_told(pods: list[EnginePod], expected: tuple[str, str]) -> None:
    assert read(situation(*pods), "EnginesAnswer") == expected


def test_a_promoted_rollout_says_how_far_reuse_reaches() -> None:
    kept = status(Phase.PROMOTED, message="m", reach=granted(64, message="reuse reaches far"))
    assert words(situation(status=kept), "Ready") == "m; reuse reaches far"
    unknown = status(Phase.PROMOTED, message="m", reach=None)
    assert words(situation(status=unknown), "Ready") == "m"


def test_where_all_is_well_nothing_is_said() -> None:
    c = situation(pod("a"), status=status(Phase.SHADOWING))
    for type_, expected in (
        ("Waiting", ("False", "NothingAwaited")),
        ("EnginesAnswer", ("True", "AllDo")),
        ("OperatorHealthy", ("True", "LooksSucceed")),
        ("CommandsObeyed", ("True", "NoneIgnored")),
        ("RuntimeCurrent", ("Unknown", "NotKnown")),
    ):
        assert (read(c, type_), words(c, type_)) == (expected, "")
    assert words(situation(), "EnginesAnswer") == ""


def test_a_command_that_is_ignored_is_told_with_its_reason() -> None:
    c = situation(pod("a"), annotations={"indexcache.dev/kill": "ture"})
    assert read(c, "CommandsObeyed") == ("False", "KillIgnored")
    assert "found 'ture', which stops nothing" in words(c, "CommandsObeyed")

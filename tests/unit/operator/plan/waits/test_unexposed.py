"""Tests what is waited for in shadow, and how long a try is held."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Identity, Mode, Series, Work
from indexcache_core.evidence.verdict import Verdict
from indexcache_core.histogram import of
from indexcache_operator.api.status import HoldStatus, Origin, Phase, WaitStatus
from indexcache_operator.plan.facts import measuring
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.waits import unexposed

from tests.unit.operator.plan.build import (
    REVISION,
    at,
    engine,
    evidence,
    hold,
    pace,
    pod,
    situation,
    snapshot,
    spec,
    status,
)


def case(
    kept: HoldStatus | None = None,
    *,
    requests: int = 20,
    came: int = 100,
    minutes: float = 10,
    **changes: Any,
) -> Situation:
    memory = Memory(key="try", requests_seen=requests, pace=pace(came, minutes=minutes))
    changes = {"evidence": evidence(), **changes}
    return situation(pod(), status=status(Phase.SHADOWING, hold=kept), memory=memory, **changes)


def test_nothing_more_is_waited_for() -> None:
    assert unexposed.waiting(case()) is None


def test_requests_are_waited_for() -> None:
    told = WaitStatus(
        origin=Origin.TRAFFIC,
        reason="RequestsWanted",
        message="15 more requests, about 2m",
        requests_per_minute=10.0,
        expected="2m",
        way_out="nothing need be done; a lower spec.strategy.shadow.minRequests needs fewer",
    )
    assert unexposed.waiting(case(requests=5)) == told
    slow = replace(told, message="15 more requests", requests_per_minute=0.0, expected="")
    assert unexposed.waiting(case(requests=5, came=0)) == slow
    one = unexposed.waiting(case(requests=19))
    assert one is not None
    assert one.message == "1 more requests, about 1m"


def test_what_comes_first_is_said_first() -> None:
    found = [
        unexposed.waiting(
            case(hold(), requests=0, evidence=evidence(Verdict.HOLDING), spec=spec(paused=True))
        ),
        unexposed.waiting(case(hold(), requests=0, evidence=evidence(Verdict.HOLDING))),
        unexposed.waiting(case(requests=0, evidence=evidence(Verdict.HOLDING))),
        unexposed.waiting(case(requests=0)),
    ]
    assert [wait.reason for wait in found if wait] == [
        "Paused",
        "TooLittleTraffic",
        "EvidenceWanted",
        "RequestsWanted",
    ]


@pytest.mark.parametrize(
    ("kept", "changes", "words"),
    [
        (hold(), {}, "pauses until 2026-01-01T00:04:59.000Z"),
        (hold(not_before=at(0)), {}, None),
        (hold(not_before=at(0), requests_per_minute_needed=10.0), {}, None),
        (hold(not_before=at(0), requests_per_minute_needed=10.1), {}, "10 requests a minute, 10.1 needed"),
        (hold(not_before=at(0), requests_per_minute_needed=1.0), {"minutes": 5}, None),
        (
            hold(not_before=at(0), requests_per_minute_needed=1.0),
            {"minutes": 4.9},
            "the traffic is watched for 5m",
        ),
        (hold(generation=2), {}, None),
        (hold(), {"annotations": {"indexcache.dev/retry": REVISION}}, None),
        (
            hold(retried=REVISION),
            {"annotations": {"indexcache.dev/retry": REVISION}},
            "pauses until 2026-01-01T00:04:59.000Z",
        ),
        (hold(), {"annotations": {"indexcache.dev/retry": "other"}}, "pauses until 2026-01-01T00:04:59.000Z"),
    ],
)
def test_how_long_a_try_is_held(kept: HoldStatus, changes: dict[str, Any], words: str | None) -> None:
    found = unexposed.held(case(kept, **changes))
    assert (found is None) is (words is None)
    if found is not None and words is not None:
        assert found == WaitStatus(
            origin=Origin.TRAFFIC,
            reason="TooLittleTraffic",
            message=f"TooLittleTraffic: {words}",
            requests_per_minute=found.requests_per_minute,
            requests_per_minute_needed=kept.requests_per_minute_needed,
            way_out="an edit of the spec, or another value of annotation indexcache.dev/retry, exposes it at "
            "once",
        )
        assert found.requests_per_minute is not None


def test_without_a_pace_the_traffic_is_watched_first() -> None:
    c = case(hold(not_before=at(0), requests_per_minute_needed=1.0))
    found = unexposed.held(replace(c, memory=replace(c.memory, pace=None)))
    assert found is not None
    assert (found.message, found.requests_per_minute) == (
        "TooLittleTraffic: the traffic is watched for 5m",
        None,
    )


def test_a_retry_of_a_number_that_was_not_used_exposes_at_once() -> None:
    asked: dict[str, Any] = {"annotations": {"indexcache.dev/retry": f"{REVISION}/2"}}
    assert unexposed.held(case(hold(retried=REVISION), **asked)) is None
    assert unexposed.held(case(None)) is None


def test_what_was_held_as_measuring_stopped_waits_until_each_engine_measures() -> None:
    kept = hold("MeasuringStopped", not_before=at(0))
    found = unexposed.waiting(case(kept))
    assert found is not None
    assert found.message == "MeasuringStopped: a measured nothing since"
    assert unexposed.waiting(case(hold("PlatformNotReady", not_before=at(0)))) is None
    c = case(kept)
    before = engine(Mode.SHADOW, identity=Identity(revision=REVISION))
    marked = measuring.note(snapshot(pod("a", before)), c.status)
    value = Series(site=None, context=3, work=Work.PREFILL, mode=Mode.SHADOW, recall=of([0.9]))
    now = snapshot(pod("a", before.model_copy(update={"observed": (value,)})))
    assert unexposed.waiting(replace(c, status=marked, snapshot=now)) is None

"""Tests what Checking and Failed say that they wait for, and whose doing that is."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_operator.api.status import Origin, Phase, Status, WaitStatus
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.phases import check

from tests.unit.operator.plan.build import (
    BASELINE,
    REVISION,
    case,
    granted,
    hold,
    pod,
    situation,
    snapshot,
    spec,
    status,
    told,
)
from tests.unit.operator.plan.build import route as seen_route
from tests.unit.operator.plan.phases.checking import REJECTED, THREE

RETRY, KILL = "indexcache.dev/retry", "indexcache.dev/kill"


def decided(*pods: EnginePod, **changes: Any) -> Status:
    seen = told({}, *(pods or THREE), **{"status": status(Phase.CHECKING), **changes})
    return check.decide(situation(*seen.observation.pods, **{**changes, "status": seen.observation.status}))


NOT_FOUND = "spec.traffic.httpRoute: users or its rule generate not found"
UNKNOWN = "this operator's version doesn't know spec.later; upgrade it, or remove what it doesn't know"
CLUSTERS: dict[str, Any] = {
    "origin": Origin.PLATFORM,
    "reason": "EnginesNotReady",
    "way_out": "kubectl describe pod says what keeps it from serving",
}
USERS: dict[str, Any] = {
    "origin": Origin.USER,
    "reason": "CompanionsMissing",
    "way_out": "bring what is missing",
}


@pytest.mark.parametrize(
    ("pods", "changes", "expected"),
    [
        (THREE[:2], {}, WaitStatus(**CLUSTERS, message="2 of 3 engines ready")),
        (
            THREE,
            {"route": None, "status": status(Phase.CHECKING, phase_started_at=None)},
            WaitStatus(**USERS, message=NOT_FOUND),
        ),
        (THREE, {"unknown_fields": ("spec.later",)}, WaitStatus(**USERS, message=UNKNOWN)),
    ],
    ids=["engines", "route", "fields"],
)
def test_checking_says_what_it_waits_for(
    pods: tuple[EnginePod, ...], changes: dict[str, Any], expected: WaitStatus
) -> None:
    after = decided(*pods, **changes)
    assert (after.phase, after.waiting) == (Phase.CHECKING, expected)
    assert after.message == f"Waiting: {expected.message}"


def test_failed_waits_for_what_its_message_says_and_for_another_pattern_where_it_was_rejected() -> None:
    way_out = "do what the message says: it goes on by itself then"
    failed = decided(route=None)
    assert (failed.phase, failed.message) == (Phase.FAILED, NOT_FOUND)
    assert failed.waiting == WaitStatus(
        origin=Origin.USER, reason="NotPossible", message=NOT_FOUND, way_out=way_out
    )
    rejected = decided(status=status(Phase.CHECKING, rejected=(REJECTED,)))
    assert f"revision {REVISION} was rejected" in rejected.message
    assert rejected.waiting == WaitStatus(
        origin=Origin.PATTERN, reason="Rejected", message=rejected.message, way_out=way_out
    )


def test_nothing_of_the_try_before_is_kept() -> None:
    before = status(
        Phase.FELL_BACK, revision="old", checkpoint="x", hold=hold(), reach=granted(64), paused_at=None
    )
    after = check.adopt(case(snapshot(status=before), before))
    assert (after.checkpoint, after.hold, after.reach) == ("", None, None)


def test_a_retry_that_was_used_up_tries_nothing_again() -> None:
    used = replace(REJECTED, retried=REVISION)
    kept = status(Phase.FAILED, rejected=(used,))
    again = {RETRY: REVISION}
    assert decided(status=kept, annotations=again).phase is Phase.FAILED
    assert decided(status=kept, annotations={RETRY: f"{REVISION}/2"}).phase is Phase.CHECKING
    moved = status(Phase.FELL_BACK, revision="old", rejected=(used,))
    assert check.adopt(case(snapshot(status=moved, annotations=again), moved)).rejected == (used,)


def test_a_retry_of_what_somebody_wants_off_is_not_tried() -> None:
    kept = status(Phase.FAILED, rejected=(REJECTED,))
    after = decided(status=kept, annotations={RETRY: REVISION, KILL: REVISION})
    assert (after.phase, after.rejected) == (Phase.FAILED, (REJECTED,))


def test_a_backend_may_name_the_routes_own_namespace() -> None:
    named = seen_route({**BASELINE, "namespace": "ns"})
    assert check.companions(snapshot(route=named)) == []
    (reason,) = check.companions(snapshot(route=seen_route({**BASELINE, "namespace": "other"})))
    assert reason == (
        "spec.traffic.httpRoute: rule generate of users names no Service chat-baseline of namespace ns; make "
        "it its backend"
    )


def test_a_pause_that_a_user_asked_for_keeps_nothing_from_being_checked() -> None:
    assert decided(spec=spec(paused=True)).phase is Phase.SHADOWING
    assert check.waiting_for(
        case(told({}, pod(), spec=spec(paused=True), status=status(Phase.CHECKING)))
    ) == ["1 of 3 engines ready"]

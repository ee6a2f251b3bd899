"""Tests how one phase ends and another begins."""

from dataclasses import replace

import pytest
from indexcache_operator.api.status import (
    HistoryEntry,
    Origin,
    Phase,
    Rejected,
    StepStatus,
    TrafficStatus,
    WaitStatus,
)
from indexcache_operator.plan.phases.entering import HISTORY, enter, fall_back, reject, remember, weighted

from tests.unit.operator.plan.build import REVISION, at, case, hold, intent, snapshot, spec, status

STEP = StepStatus(index=1, weight=50, started_at=at(-9))


def test_a_phase_begins_now_and_counts_its_requests_from_nothing() -> None:
    before = status(Phase.SHADOWING, requests_seen=7, epoch=3, reach=None)
    assert enter(case(snapshot(), before), Phase.CANARY, "exposing") == status(
        Phase.CANARY, phase_started_at=at(0), requests_seen=0, epoch=3, message="exposing", reach=None
    )


def test_a_fallback_keeps_its_cause_and_takes_the_weight_back() -> None:
    before = status(step=STEP, traffic=TrafficStatus(desired=50, previous=20), canary_pods=("a",))
    assert fall_back(case(snapshot(), before), "Killed", "by hand") == status(
        Phase.FALLING_BACK,
        phase_started_at=at(0),
        message="Killed: by hand",
        fallback=intent(since=0),
        step=None,
        traffic=TrafficStatus(desired=0, previous=20),
        canary_pods=("a",),
        reach=before.reach,
    )


def test_a_fallback_without_a_message_is_told_by_its_cause() -> None:
    assert fall_back(case(snapshot(), status()), "Killed", "").message == "Killed"


def test_the_first_cause_of_a_fallback_counts() -> None:
    first = intent("Killed")
    after = fall_back(case(snapshot(), status(fallback=first)), "Superseded", "later")
    assert (after.fallback, after.message) == (first, "Killed: by hand")
    falling = status(Phase.FALLING_BACK, fallback=first, message="under way")
    assert fall_back(case(snapshot(), falling), "Superseded", "later") == falling


def test_an_intent_of_another_revision_is_no_cause() -> None:
    after = fall_back(case(snapshot(), status(fallback=intent(of_revision="other"))), "Superseded", "later")
    assert after.fallback == intent("Superseded", "later", since=0)


def test_a_fallback_under_way_is_not_begun_again() -> None:
    falling = status(Phase.FALLING_BACK, message="under way")
    assert fall_back(case(snapshot(), falling), "Killed", "by hand") == replace(
        falling, fallback=intent(since=0)
    )


@pytest.mark.parametrize(
    ("desired", "previous", "verified", "percent", "refute"),
    [
        (20, 0, None, 0, 20),
        (50, 25, None, 0, 25),
        (50, 25, 7, 0, 50),
        (20, 0, None, 50, 20),
        (0, 0, 3, 5, 0),
        (50, 20, None, 20, 50),
    ],
)
def test_what_the_counters_must_refute_is_the_nearest_that_the_weight_may_have_been(
    desired: int, previous: int, verified: int | None, percent: int, refute: int
) -> None:
    before = TrafficStatus(desired=desired, previous=previous, verified_generation=verified)
    assert weighted(before, percent) == TrafficStatus(desired=percent, previous=refute)


def test_the_same_weight_stays_verified() -> None:
    before = TrafficStatus(desired=20, previous=5, observed=20, verified_generation=7)
    assert weighted(before, 20) == before


def test_how_a_try_ended_is_remembered_with_its_pattern_if_that_is_known() -> None:
    entry = HistoryEntry(revision=REVISION, pattern="FSFS", outcome="Promoted", reason="Certified", at=at(0))
    assert remember(case(snapshot(), status()), "Promoted", "Certified") == (entry,)
    assert remember(case(snapshot(spec=None), status()), "Promoted", "Certified")[0].pattern == ""
    other = snapshot(spec=spec(indexCache={"pattern": "FFFS"}))
    assert remember(case(other, status()), "Superseded", "x")[0].pattern == ""


def test_the_history_keeps_the_last() -> None:
    old = [
        HistoryEntry(revision=str(i), pattern="", outcome="FellBack", reason="x", at=at(-60))
        for i in range(HISTORY)
    ]
    kept = remember(case(snapshot(), status(history=old)), "Promoted", "Certified")
    assert [e.revision for e in kept] == [*(str(i) for i in range(1, 10)), REVISION]


def test_a_revision_is_rejected_once_and_its_retry_is_used_up() -> None:
    others = [Rejected(revision=name, reason="before", at=at(-60)) for name in ("x", REVISION)]
    seen = snapshot(annotations={"indexcache.dev/retry": REVISION})
    assert reject(case(seen, status(rejected=others)), intent()) == (
        others[0],
        Rejected(revision=REVISION, reason="Killed", message="by hand", at=at(0), retried=REVISION),
    )
    assert reject(case(snapshot(), status()), intent())[0].retried == ""


def test_each_pause_is_twice_as_long_as_the_one_before_and_a_day_at_most() -> None:
    def pauses(times: int) -> float:
        before = hold(times=times) if times else None
        after = fall_back(case(snapshot(), status(hold=before)), "TooLittleTraffic", "few")
        assert after.hold is not None
        assert after.hold.times == times + 1
        return (after.hold.not_before - at(0)).total_seconds()

    assert [pauses(times) for times in (0, 1, 2, 19, 99)] == [120, 240, 480, 86400, 86400]


def test_a_hold_says_what_would_have_been_needed_and_which_spec_it_speaks_of() -> None:
    wait = WaitStatus(origin=Origin.TRAFFIC, reason="EvidenceWanted", requests_per_minute_needed=7.5)
    seen = snapshot(annotations={"indexcache.dev/retry": REVISION})
    after = fall_back(case(seen, status(waiting=wait)), "TooLittleTraffic", "few")
    assert after.hold == hold(
        "TooLittleTraffic",
        message="few",
        since=at(0),
        not_before=at(120),
        requests_per_minute_needed=7.5,
        retried=REVISION,
    )
    assert after.waiting is None
    assert fall_back(case(seen, status()), "EngineBreaker", "x").hold is None
    never_retried = fall_back(case(snapshot(), status()), "TooLittleTraffic", "few")
    assert never_retried.hold is not None
    assert never_retried.hold.retried == ""


def test_an_intent_of_an_alert_gets_its_origin_and_the_commands_of_the_moment() -> None:
    alert = replace(intent("AlertFiring"), origin=None)
    seen = snapshot(annotations={"indexcache.dev/retry": "x", "indexcache.dev/kill": "true"})
    after = fall_back(case(seen, status(fallback=alert)), "AlertFiring", "")
    assert after.fallback == replace(alert, origin=Origin.PATTERN, retried="x")
    killed = fall_back(case(seen, status()), "Killed", "")
    assert killed.fallback is not None
    assert (killed.fallback.origin, killed.fallback.kill) == (Origin.USER, "true")


def test_what_is_held_again_and_again_is_remembered_once() -> None:
    earlier = [
        HistoryEntry(revision=str(i), pattern="", outcome="FellBack", reason="x", at=at(-60))
        for i in range(2)
    ]
    before = status(history=earlier)
    first = remember(case(snapshot(), before), "FellBack", "TooLittleTraffic", Origin.TRAFFIC)
    assert [e.origin for e in first] == [None, None, Origin.TRAFFIC]
    c = case(snapshot(now=at(60)), status(history=first))
    again = remember(c, "FellBack", "TooLittleTraffic", Origin.TRAFFIC)
    assert [e.at for e in again] == [at(-60), at(-60), at(60)]
    assert len(remember(c, "FellBack", "PlatformNotReady", Origin.PLATFORM)) == 4

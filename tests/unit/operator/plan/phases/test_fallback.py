"""FallingBack and FellBack: who is killed, what is waited for, and what comes after."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from indexcache_core.contract import Mode, State
from indexcache_core.evidence.traffic import Reached
from indexcache_operator.api.status import (
    FallbackStatus,
    HistoryEntry,
    Origin,
    Phase,
    PodStatus,
    Rejected,
    Status,
    StepStatus,
    TrafficStatus,
)
from indexcache_operator.model import EnginePod, Kill
from indexcache_operator.plan.facts.endings import ENDINGS, Then
from indexcache_operator.plan.facts.situation import Seen
from indexcache_operator.plan.phases import fallback
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT, ON_PROMOTED_PERMIT, SHADOW

from tests.unit.operator.plan.build import (
    KEPT,
    ORIGINAL,
    REVISION,
    WITH_CANARY,
    at,
    case,
    engine,
    hold,
    intent,
    pod,
    situation,
    snapshot,
    spec,
    status,
    told,
)

ON = engine(Mode.ON)
LAPSING = [PodStatus(name="a", permit=timedelta(seconds=60))]
OTHER = spec(indexCache={"pattern": "FFFS", "minContextTokens": 0})
RETRY = {"indexcache.dev/retry": REVISION}


def falling(**changes: Any) -> Status:
    return status(Phase.FALLING_BACK, **{"fallback": intent(), **changes})


@pytest.mark.parametrize(
    ("state", "kind", "kept", "killed"),
    [
        (ON, None, {}, True),
        (ON, SHADOW, {}, True),
        (ON, ON_CANARY_PERMIT, {}, False),
        (ON, ON_PROMOTED_PERMIT, {}, False),
        (engine(Mode.SHADOW), None, {}, False),
        (None, None, {}, False),
        (None, None, {"pods": LAPSING}, True),
        (None, None, {"pods": LAPSING, "fallback": intent(since=-65)}, True),
        (None, None, {"pods": LAPSING, "fallback": intent(since=-65.1)}, False),
        (None, None, {"pods": LAPSING, "fallback": None}, True),
    ],
)
def test_who_may_run_reuse_and_should_not_is_killed(
    state: State | None, kind: str | None, kept: dict[str, Any], killed: bool
) -> None:
    for deleting in (False, True):
        each = pod("a", state, deleting=deleting)
        found = fallback.kills(case(snapshot(each), falling(**kept)), {"a": kind} if kind else {})
        assert [k.pod for k in found] == ["a"] * killed


def test_a_kill_says_why_in_words_that_the_next_operator_reads() -> None:
    assert fallback.kills(case(snapshot(pod("a", ON)), falling()), {}) == [
        Kill(pod="a", reason=f"Killed: revision {REVISION}: by hand")
    ]
    long = falling(fallback=intent(message="x" * 600))
    assert len(fallback.kills(case(snapshot(pod("a", ON)), long), {})[0].reason) == 512
    assert fallback.kills(case(snapshot(pod("a", ON)), status()), {})[0].reason == "reuse isn't wanted here"


def test_who_is_not_at_the_baseline_yet() -> None:
    seen = told(
        {"b": SHADOW}, pod("a"), pod("b"), pod("c", engine(Mode.ON, epoch=1)), pod("d", ON, deleting=True)
    )
    late = replace(seen.observation.status, phase=Phase.FALLING_BACK)
    assert fallback.at_baseline(case(seen, late)) == ["b"]
    again = snapshot(pod("a"), pod("b", ON), status=late)
    assert fallback.at_baseline(case(again, status(pods=(PodStatus(name="b", desired="off", epoch=0),)))) == [
        "b"
    ]


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (falling(pods=LAPSING), ["a (unreachable; its permit of 60 s is lapsing)"]),
        (falling(pods=LAPSING, fallback=intent(since=-66)), []),
        (falling(pods=LAPSING, fallback=None, phase_started_at=at(-66)), []),
        (
            falling(pods=LAPSING, fallback=None, phase_started_at=at(-64)),
            ["a (unreachable; its permit of 60 s is lapsing)"],
        ),
    ],
)
def test_a_silent_engine_counts_until_its_permit_lapsed(kept: Status, expected: list[str]) -> None:
    assert fallback.at_baseline(case(snapshot(pod("a", None)), kept)) == expected


def decided(*pods: EnginePod, kept: Status, seen: Seen | None = None, **changes: Any) -> Status:
    return fallback.decide(situation(*pods, status=kept, seen=seen, **changes))


@pytest.mark.parametrize(
    ("pods", "kept", "changes", "words"),
    [
        ([pod("a"), pod("b", ON)], falling(), {}, "Killed: by hand. Not yet at the baseline: b"),
        ([pod("b", ON)], falling(fallback=None), {}, "Falling back. Not yet at the baseline: b"),
        ([pod()], falling(route=KEPT), {"route": WITH_CANARY}, "baseline; waiting for the route"),
        ([pod(canary_label=True)], falling(), {}, "baseline; draining the canary"),
        (
            [pod(canary_label=True)],
            falling(),
            {"seen": Seen(reached=Reached.NO)},
            "baseline; the engines' counters still show traffic",
        ),
    ],
)
def test_what_is_waited_for(pods: list[EnginePod], kept: Status, changes: dict[str, Any], words: str) -> None:
    after = decided(*pods, kept=kept, **changes)
    assert after == replace(kept, message=after.message)
    assert words in after.message


FULL: dict[str, Any] = {
    "canary_pods": ("a",),
    "route": KEPT,
    "step": StepStatus(index=0, weight=20, started_at=at(-9)),
    "traffic": TrafficStatus(desired=0, previous=20, observed=3, verified_generation=5),
}
BACK: dict[str, Any] = {
    "canary_pods": (),
    "route": None,
    "step": None,
    "traffic": TrafficStatus(verified_generation=5),
}


def test_a_pattern_at_fault_is_rejected() -> None:
    breach = intent("EngineBreaker")
    after = decided(pod(), kept=falling(**FULL, fallback=breach))
    assert after == status(
        Phase.FELL_BACK,
        **BACK,
        fallback=breach,
        phase_started_at=at(0),
        message=after.message,
        history=(
            HistoryEntry(
                revision=REVISION,
                pattern="FSFS",
                outcome="FellBack",
                reason="EngineBreaker",
                origin=Origin.PATTERN,
                at=at(0),
            ),
        ),
        rejected=(Rejected(revision=REVISION, reason="EngineBreaker", message="by hand", at=at(0)),),
    )
    for word in (
        "EngineBreaker: by hand. All users are served by the baseline",
        REVISION,
        "indexcache.dev/retry",
    ):
        assert word in after.message


@pytest.mark.parametrize("cause", [c for c in ENDINGS if ENDINGS[c].then is not Then.REJECT])
def test_nothing_but_the_patterns_fault_rejects(cause: str) -> None:
    after = fallback.finish(situation(pod(), status=falling(**FULL, fallback=intent(cause), hold=hold())))
    assert (after.rejected, after.route, after.canary_pods) == ((), None, ())
    assert after.history[-1].origin is ENDINGS[cause].origin


def test_a_cause_that_is_not_known_rejects() -> None:
    assert [r.reason for r in decided(pod(), kept=falling(fallback=intent("Novel"))).rejected] == ["Novel"]


HELD: dict[str, Any] = {"fallback": intent("TooLittleTraffic"), "hold": hold()}


def test_a_try_that_is_held_goes_on_in_shadow_with_its_evidence() -> None:
    kept = falling(**FULL, **HELD)
    seen = told({"a": SHADOW}, pod("a"), status=kept)
    after = fallback.decide(case(seen))
    assert (after.phase, after.fallback, after.hold) == (Phase.SHADOWING, None, kept.hold)
    assert (after.revision_started_at, after.rejected) == (kept.revision_started_at, ())
    assert "held, not rejected: by hand" in after.message
    assert [(h.outcome, h.reason) for h in after.history] == [("FellBack", "TooLittleTraffic")]
    again = fallback.decide(case(seen, replace(seen.observation.status, history=after.history)))
    assert len(again.history) == 1


def test_on_the_way_to_a_hold_engines_are_killed_and_told_shadow_never_off() -> None:
    leaving = pod("c", ON, deleting=True)
    c = case(snapshot(pod("a", ON), pod("b"), leaving), falling(**HELD))
    wanted = fallback.targets(c).kinds
    assert wanted == {"a": SHADOW, "b": SHADOW, "c": SHADOW}
    assert [k.pod for k in fallback.kills(c, wanted)] == ["a", "c"]
    assert fallback.at_baseline(c) == ["a", "b"]


@pytest.mark.parametrize("change", [{"deleting": True}, {"spec": None}, {"spec": OTHER}])
def test_a_hold_ends_with_what_it_holds(change: dict[str, Any]) -> None:
    assert not fallback.holds(case(snapshot(pod(), **change), falling(**HELD)))
    assert fallback.holds(case(snapshot(pod()), falling(**HELD)))


@pytest.mark.parametrize("cause", [c for c in ENDINGS if ENDINGS[c].then is Then.NEXT])
def test_what_is_not_the_patterns_fault_leads_to_the_next_try(cause: str) -> None:
    after = decided(pod(), kept=falling(**FULL, fallback=intent(cause)), spec=OTHER)
    assert (after.phase, after.fallback, after.rejected) == (Phase.CHECKING, None, ())
    assert after.revision != REVISION
    assert {name: getattr(after, name) for name in BACK} == BACK
    assert [(h.outcome, h.reason) for h in after.history] == [("Superseded", cause)]


def test_an_intent_that_was_lost_counts_as_superseded() -> None:
    after = decided(pod(), kept=falling(fallback=None))
    assert [(h.outcome, h.reason) for h in after.history] == [("Superseded", "Superseded")]


def test_without_a_spec_nothing_comes_next() -> None:
    after = decided(
        pod(), kept=falling(**FULL, fallback=intent("InvalidSpec")), spec=None, spec_problem="engine: missing"
    )
    assert (after.phase, after.message, after.fallback) == (Phase.FAILED, "spec: engine: missing", None)
    assert {name: getattr(after, name) for name in BACK} == BACK
    assert len(after.history) == 1


@pytest.mark.parametrize(
    ("changes", "phase"),
    [
        ({}, Phase.FELL_BACK),
        ({"spec": OTHER}, Phase.CHECKING),
        ({"annotations": RETRY}, Phase.CHECKING),
        ({"annotations": {"indexcache.dev/retry": "other"}}, Phase.FELL_BACK),
        ({"spec": None}, Phase.FELL_BACK),
    ],
)
def test_it_rests_until_the_spec_changes_or_a_retry_is_asked_for(
    changes: dict[str, Any], phase: Phase
) -> None:
    kept = status(Phase.FELL_BACK, rejected=(Rejected(revision=REVISION, reason="x", at=at(-60)),))
    after = fallback.rest(situation(pod(), status=kept, **changes))
    assert after.phase is phase
    assert (after == kept) is (phase is Phase.FELL_BACK)


def test_a_retry_that_a_rejection_used_up_leads_on_to_nothing() -> None:
    used = Rejected(revision=REVISION, reason="x", at=at(-60), retried=REVISION)
    kept = status(Phase.FELL_BACK, rejected=(used,))
    assert fallback.rest(situation(pod(), status=kept, annotations=RETRY)) == kept


KILLED = replace(intent("Killed"), retried=REVISION)
BY_ANNOTATION = replace(KILLED, kill="true")


@pytest.mark.parametrize(
    ("kept", "annotations", "phase"),
    [
        (BY_ANNOTATION, {"indexcache.dev/kill": "true"}, Phase.FELL_BACK),
        (BY_ANNOTATION, {}, Phase.CHECKING),
        (KILLED, {}, Phase.FELL_BACK),
        (KILLED, RETRY, Phase.FELL_BACK),  # used up
        (KILLED, {"indexcache.dev/retry": f"{REVISION}/2"}, Phase.CHECKING),
        (KILLED, {"indexcache.dev/retry": f"{REVISION}/2", "indexcache.dev/kill": "true"}, Phase.FELL_BACK),
    ],
)
def test_what_was_killed_rests_until_that_is_taken_back(
    kept: FallbackStatus, annotations: dict[str, str], phase: Phase
) -> None:
    c = situation(pod(), status=status(Phase.FELL_BACK, fallback=kept), annotations=annotations)
    assert fallback.rest(c).phase is phase


@pytest.mark.parametrize(
    ("kept", "words"),
    [(BY_ANNOTATION, "indexcache.dev/kill being removed"), (KILLED, f'indexcache.dev/retry: "{REVISION}/2"')],
)
def test_how_to_lead_on_is_said(kept: FallbackStatus, words: str) -> None:
    assert words in decided(pod(), kept=falling(fallback=kept)).message


def test_a_revision_that_was_not_rejected_rests_too() -> None:
    assert (
        fallback.rest(situation(status=status(Phase.FELL_BACK), annotations=RETRY)).phase is Phase.FELL_BACK
    )


def test_all_goes_off_and_back() -> None:
    c = situation(pod("a"), pod("b", canary_label=True), status=falling(route=KEPT), route=WITH_CANARY)
    targets = fallback.targets(c)
    assert (targets.kinds, targets.backends) == ({}, ORIGINAL)
    assert targets.labels == {"a": (True, False), "b": (True, True)}

"""Tests what ends a try from outside its phase, and which cause comes first."""

import math
from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Mode, Reason, Requests, State, Steps, Work
from indexcache_core.evidence.freshness import requests_until
from indexcache_core.evidence.guardrails import IN_RESOURCE
from indexcache_core.evidence.verdict import Verdict
from indexcache_core.histogram import of
from indexcache_operator.api.status import Phase, PodStatus, Status
from indexcache_operator.plan.facts import measuring
from indexcache_operator.plan.facts.memory import Memory, TestKey, TotalKey
from indexcache_operator.plan.facts.reach import EXPOSED
from indexcache_operator.plan.facts.situation import Evidence, Situation
from indexcache_operator.plan.phases import triggers
from indexcache_operator.plan.wanted.flags import ON_PROMOTED_PERMIT

from tests.unit.operator.plan.build import (
    IDLE,
    KEPT,
    QUALITY,
    REVISION,
    answer,
    engine,
    evidence,
    intent,
    judgement,
    pod,
    situation,
    spec,
    status,
    told,
)

ON = [PodStatus(name="a", desired="on-canary-1", epoch=4)]
KILL = {"indexcache.dev/kill": REVISION}
SUPERSEDING = spec(indexCache={"pattern": "FFFS", "minContextTokens": 0})


def tripped(reason: Reason = Reason.BREAKER, epoch: int = 4, message: str = "") -> State:
    return engine(Mode.TRIPPED, reason=reason, epoch=epoch, message=message)


def cause(c: Situation) -> str | None:
    after = triggers.apply(c)
    if after is None:
        return None
    assert after.phase is Phase.FALLING_BACK
    assert after.fallback is not None
    assert after.fallback.revision == REVISION
    return after.fallback.cause


def message(c: Situation) -> str:
    after = triggers.apply(c)
    assert after is not None
    assert after.fallback is not None
    return after.fallback.message


def test_a_healthy_try_goes_on() -> None:
    for phase in triggers.ENGAGED:
        assert triggers.apply(situation(pod(), status=status(phase, route=KEPT), evidence=evidence())) is None


CASES: dict[str, dict[str, Any]] = {
    "Deleted": {"deleting": True},
    "Killed": {"annotations": KILL},
    "InvalidSpec": {"spec": None, "spec_problem": "engine: missing"},
    "Superseded": {"spec": SUPERSEDING},
    "Restored": {"uid": "another"},
    "CheckpointReplaced": {"status": status(checkpoint="x")},
    "EngineBreaker": {"status": status(pods=ON)},
    "RecallBelowThreshold": {},
}


@pytest.mark.parametrize("expected", CASES)
def test_each_cause(expected: str) -> None:
    stopped, other = tripped(), engine(checkpoint="y")
    pods = [pod("a", {"EngineBreaker": stopped, "CheckpointReplaced": other}.get(expected, engine()))]
    kept = {"status": status(uid="uid")} if expected == "Restored" else {}
    found = evidence(Verdict.BREACHED if expected == "RecallBelowThreshold" else Verdict.CERTIFIED)
    assert cause(situation(*pods, **{"evidence": found, **kept, **CASES[expected]})) == expected


def stopped(phase: Phase = Phase.PROMOTED, *, acts: bool = True) -> Situation:
    """Return a try one of whose engines under reuse measured nothing of many requests."""
    seen = told({"a": ON_PROMOTED_PERMIT}, pod(), status=status(phase))
    kept = measuring.note(seen, seen.observation.status)
    state, came = seen.observation.pods[0].state, 2 * requests_until(1)
    assert state is not None
    contexts = (0, 0, 0, came, 0, 0, 0, 0, 0)
    requests = Requests(admitted_reuse=came, contexts=contexts)
    now = state.model_copy(update={"requests": requests, "steps": Steps(reuse=came)})
    return situation(pod("a", now), status=kept, evidence=evidence() if acts else Evidence(unguarded=True))


@pytest.mark.parametrize("phase", EXPOSED)
def test_an_engine_under_reuse_that_measures_nothing_any_more_ends_the_exposure(phase: Phase) -> None:
    assert cause(stopped(phase)) == "MeasuringStopped"
    assert message(stopped(phase)) == (
        "pod a measured nothing of 3034 requests under reuse that are long enough, of which one in 200 at "
        "least should be; look at its log, or delete it"
    )


def test_where_nothing_acts_on_what_is_measured_nobody_has_to_measure() -> None:
    assert triggers.apply(stopped(acts=False)) is None
    assert triggers.apply(stopped(Phase.SHADOWING)) is None


def test_the_first_in_rank_is_the_cause() -> None:
    changes: dict[str, Any] = {"status": status(pods=ON, route=KEPT, uid="uid")}
    found = []
    ranked: list[dict[str, Any]] = [
        {"deleting": True},
        {"annotations": KILL},
        {"spec": None},
        {"spec": SUPERSEDING},
        {"spec": spec(), "uid": "another"},
        {"uid": "uid", "spec": spec(traffic={"httpRoute": {"name": "users", "rule": "other"}})},
        {},
    ]
    for i in range(len(ranked)):
        later = {key: value for change in reversed(ranked[i:]) for key, value in change.items()}
        found.append(
            cause(situation(pod("a", tripped()), evidence=evidence(Verdict.BREACHED), **{**changes, **later}))
        )
    assert found == [
        "Deleted",
        "Killed",
        "InvalidSpec",
        "Superseded",
        "Restored",
        "RouteChanged",
        "EngineBreaker",
    ]


@pytest.mark.parametrize("phase", [p for p in Phase if p not in triggers.ENGAGED])
def test_where_nothing_was_told_to_engines_only_a_deletion_counts(phase: Phase) -> None:
    pods = [pod("a", tripped())]
    c = situation(
        *pods,
        status=status(phase, pods=ON),
        annotations=KILL,
        spec=SUPERSEDING,
        evidence=evidence(Verdict.BREACHED),
    )
    assert triggers.apply(c) is None
    assert cause(situation(*pods, status=status(phase), deleting=True)) == "Deleted"


@pytest.mark.parametrize(
    ("phase", "of_revision", "expected"),
    [
        (Phase.CANARY, REVISION, "AlertFiring"),
        (Phase.CHECKING, REVISION, "AlertFiring"),
        (Phase.FAILED, REVISION, None),
        (Phase.CANARY, "other", None),
    ],
)
def test_an_intent_of_this_revision_is_obeyed(phase: Phase, of_revision: str, expected: str | None) -> None:
    assert (
        cause(situation(status=status(phase, fallback=intent("AlertFiring", of_revision=of_revision))))
        == expected
    )


@pytest.mark.parametrize(
    ("traffic", "expected"),
    [
        ({"httpRoute": {"name": "users", "rule": "generate"}}, None),
        ({"httpRoute": {"name": "users", "rule": "other"}}, "RouteChanged"),
        ({"httpRoute": {"name": "other", "rule": "generate"}}, "RouteChanged"),
        ({}, "RouteChanged"),
    ],
)
def test_a_route_that_was_changed_must_stay_named(traffic: dict[str, Any], expected: str | None) -> None:
    assert cause(situation(status=status(route=KEPT), spec=spec(traffic=traffic))) == expected
    assert cause(situation(status=status(), spec=spec(traffic=traffic))) is None


@pytest.mark.parametrize(
    ("state", "desired", "expected"),
    [
        (tripped(), "on-canary-1", "EngineBreaker"),
        (tripped(epoch=5), "on-promoted-1", "EngineBreaker"),
        (tripped(epoch=3), "on-canary-1", None),
        (tripped(), "shadow-1", None),
        (tripped(Reason.KILLED), "on-canary-1", "Killed"),
        (tripped(Reason.PERMIT_LAPSED), "on-canary-1", None),
        (tripped(Reason.INTERNAL_ERROR), "on-canary-1", "EngineFailed"),
        (tripped(Reason.INTERNAL_ERROR, epoch=3), "shadow-1", "EngineFailed"),
        (tripped(Reason.INTERNAL_ERROR), "off", None),
        (engine(Mode.ON, epoch=4, reason=Reason.BREAKER), "on-canary-1", None),
        (None, "on-canary-1", None),
    ],
)
def test_an_engine_that_was_stopped_under_the_flags_it_was_last_given(
    state: State | None, desired: str, expected: str | None
) -> None:
    kept = status(pods=(PodStatus(name="b", desired=desired, epoch=4),))
    assert cause(situation(pod("a", IDLE), pod("b", state), status=kept)) == expected


@pytest.mark.parametrize(
    ("reason", "said", "expected"),
    [
        (Reason.BREAKER, "recall of indexer 1", "EngineBreaker: pod a: recall of indexer 1"),
        (Reason.BREAKER, "", "EngineBreaker: pod a: its own breaker stopped reuse"),
        (Reason.INTERNAL_ERROR, "internal error: x", "EngineFailed: pod a: internal error: x"),
        (Reason.KILLED, "by curl", "Killed: pod a: by curl"),
        (Reason.KILLED, "", "Killed: pod a: stopped over its control port"),
        (Reason.KILLED, f"AlertFiring: revision {REVISION}: recall is low", "AlertFiring: recall is low"),
        (Reason.KILLED, "AlertFiring: revision other: x", "Killed: pod a: AlertFiring: revision other: x"),
        (
            Reason.KILLED,
            f"two words: revision {REVISION}: x",
            f"Killed: pod a: two words: revision {REVISION}: x",
        ),
        (
            Reason.KILLED,
            f"X: revision {REVISION}: a: revision {REVISION}: b",
            f"X: a: revision {REVISION}: b",
        ),
    ],
)
def test_what_an_engine_says_of_its_stop(reason: Reason, said: str, expected: str) -> None:
    c = situation(pod("a", tripped(reason, message=said)), status=status(pods=ON))
    assert f"{cause(c)}: {message(c)}" == expected


@pytest.mark.parametrize(
    ("kept", "stays"),
    [
        (status(fallback=intent()), True),
        (status(fallback=intent(of_revision="other")), False),
        (status(fallback=intent(of_revision="other"), revision=""), True),
        (status(), True),
    ],
)
def test_an_intent_that_speaks_of_another_revision_is_dropped(kept: Status, stays: bool) -> None:
    assert triggers.stale(kept) == (kept if stays else replace(kept, fallback=None))


GUARDRAILS = {"overlap": {"min": 0.3}, "recall": {"min": 0.5, "perIndexerMin": 0.25}, **QUALITY}


@pytest.mark.parametrize(
    ("name", "test", "expected", "words"),
    [
        (
            "overlap",
            TestKey("overlap", None, 3, Work.PREFILL),
            "OverlapBelowThreshold",
            ["overlap of the Shared indexers at contexts of 65-128 tokens in prefill is under the threshold"],
        ),
        (
            "recall",
            TestKey("recall", None, 3, Work.DECODE),
            "RecallBelowThreshold",
            ["recall of the Shared indexers at", "in decode is 0.250 in the mean, at least 0.5"],
        ),
        (
            "recall_per_indexer",
            TestKey("recall_per_indexer", 1, 3, Work.PREFILL),
            "RecallBelowThreshold",
            ["recall of indexer 1 at contexts of 65-128 tokens in prefill is 0.125 in the mean"],
        ),
        (
            "quality",
            TestKey("quality"),
            "QualityBelowThreshold",
            ["drops by 0.1000 nat", "at most 0.02 allowed"],
        ),
    ],
)
def test_a_breach_gives_its_figures(name: str, test: TestKey, expected: str, words: list[str]) -> None:
    asked = spec(guardrails=GUARDRAILS)
    said = answer(
        name, Verdict.BREACHED, {test: judgement(Verdict.BREACHED, of([0.0] * 9), log_e=7.5)}, asked
    )
    totals = {
        TotalKey("recall", 1, 3, Work.PREFILL, Mode.ON): of([0.125] * 4),
        TotalKey("recall", None, 3, Work.DECODE, Mode.ON): of([0.25] * 4),
        TotalKey("recall", None, 3, Work.PREFILL, Mode.ON): of([0.9] * 4),
    }
    memory = Memory(key="try", totals=totals)
    c = situation(pod(), spec=asked, evidence=Evidence(answers=(said,)), memory=memory)
    assert cause(c) == expected
    limit = -math.log(said.guardrail.alpha)
    for word in [*words, f"evidence e^7.5 against the pattern, the limit is e^{limit:.1f}"]:
        assert word in message(c)


def test_a_breach_without_figures_says_what_is_known() -> None:
    c = situation(pod("a", None), evidence=evidence(Verdict.BREACHED))
    assert (
        "recall of the Shared indexers in prefill is under the threshold, at least 0.5 expected" in message(c)
    )


def test_of_two_rollouts_on_one_rule_the_second_leaves_it() -> None:
    taken = triggers.apply(situation(pod(), status=status(route=KEPT), route_holder="first"))
    assert taken is not None
    assert taken.fallback is not None
    assert taken.fallback.cause == "RouteTaken"
    assert "rule generate of HTTPRoute users is rollout first's" in taken.fallback.message
    assert triggers.apply(situation(pod(), status=status(), route_holder="first")) is None


def test_fields_of_a_newer_version_take_nothing_back() -> None:
    for phase in (Phase.SHADOWING, Phase.CANARY, Phase.PROMOTED):
        assert triggers.apply(situation(pod(), status=status(phase), unknown_fields=("spec.later",))) is None


def test_every_guardrail_has_a_cause() -> None:
    assert set(triggers.CAUSES) == set(IN_RESOURCE)

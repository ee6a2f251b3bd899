"""Tests what is said of each cause that ends a try."""

import math
from typing import Any

import pytest
from indexcache_core.contract import Mode, Reason
from indexcache_core.evidence.guardrails import Name
from indexcache_core.evidence.verdict import Verdict
from indexcache_core.histogram import of
from indexcache_operator.api.status import PodStatus
from indexcache_operator.plan.facts.memory import TestKey
from indexcache_operator.plan.facts.situation import Evidence, Situation
from indexcache_operator.plan.phases import triggers

from tests.unit.operator.plan.build import (
    KEPT,
    QUALITY,
    REVISION,
    answer,
    engine,
    intent,
    judgement,
    pod,
    situation,
    spec,
    status,
)


def told(c: Situation) -> tuple[str, str]:
    """Return the cause and the message that a try ends with."""
    after = triggers.apply(c)
    assert after is not None
    assert after.fallback is not None
    return after.fallback.cause, after.fallback.message


@pytest.mark.parametrize(
    ("changes", "cause", "words"),
    [
        ({"deleting": True}, "Deleted", ["the rollout is being deleted"]),
        ({"status": status(fallback=intent("AlertFiring", "too slow"))}, "AlertFiring", ["too slow"]),
        (
            {"annotations": {"indexcache.dev/kill": REVISION}},
            "Killed",
            [f"annotation indexcache.dev/kill stops revision {REVISION}"],
        ),
        ({"spec": None, "spec_problem": "engine: missing"}, "InvalidSpec", ["engine: missing"]),
        ({"spec": None, "spec_problem": None}, "InvalidSpec", ["the spec can't be read"]),
        (
            {"spec": spec(indexCache={"pattern": "FFFS", "minContextTokens": 0})},
            "Superseded",
            ["the spec asks for revision ", f", {REVISION} ends"],
        ),
        (
            {"status": status(uid="before"), "uid": "here"},
            "Restored",
            ["a rollout with uid before, this one has here", "so it is tried anew"],
        ),
        (
            {"status": status(route=KEPT), "spec": spec(traffic={})},
            "RouteChanged",
            ["spec.traffic.httpRoute no longer names rule generate of users"],
        ),
        ({"status": status(checkpoint="x")}, "CheckpointReplaced", ["x", "y"]),
    ],
)
def test_a_cause_is_told_with_what_was_found(changes: dict[str, Any], cause: str, words: list[str]) -> None:
    found = told(situation(pod("a", engine(checkpoint="y")), **changes))
    assert found[0] == cause
    for word in words:
        assert word in found[1]


def test_an_intent_keeps_its_own_cause_and_message() -> None:
    c = situation(pod("a"), status=status(fallback=intent("AlertFiring", "too slow")))
    assert triggers.apply(c) is not None
    assert tuple(triggers.ALWAYS[1](c) or ()) == ("AlertFiring", "too slow")


def test_an_engine_that_was_not_under_reuse_hides_no_other() -> None:
    stopped = engine(Mode.TRIPPED, reason=Reason.BREAKER, epoch=4, message="recall is low")
    kept = (
        PodStatus(name="a", desired="shadow-1", epoch=4),
        PodStatus(name="b", desired="on-canary-1", epoch=4),
    )
    c = situation(pod("a", stopped), pod("b", stopped), status=status(pods=kept))
    assert told(c) == ("EngineBreaker", "pod b: recall is low")


def breach(name: Name, values: list[float]) -> str:
    """Return what is told of a breach of a guardrail on probes."""
    asked = spec(guardrails={"recall": {"min": 0.5}, **QUALITY})
    judged = {TestKey(name): judgement(Verdict.BREACHED, of(values), log_e=7.5)}
    said = answer(name, Verdict.BREACHED, judged, asked)
    limit = -math.log(said.guardrail.alpha)
    cause, message = told(situation(pod(), spec=asked, evidence=Evidence(answers=(said,))))
    assert cause == "QualityBelowThreshold"
    assert message.endswith(f"; evidence e^7.5 against the pattern, the limit is e^{limit:.1f}")
    return message.partition(";")[0]


def test_answers_that_are_lost_are_told_as_a_share() -> None:
    allowed = spec(guardrails={"recall": {"min": 0.5}, **QUALITY}).guardrails.quality
    assert allowed is not None
    asked = f"at most {allowed.max_disaster_share:.2%} allowed"
    start = "of the answers are lost by over five tolerances"
    assert breach("disasters", [1.0, 1.0, 1.0, 0.0]) == f"25.00% {start}, {asked}"
    assert breach("disasters", []) == f"more than is allowed {start}, {asked}"


def test_a_drop_without_a_mean_is_told_without_a_figure() -> None:
    assert breach("quality", []).startswith("log-probability drops by more than is allowed, at most 0.02")

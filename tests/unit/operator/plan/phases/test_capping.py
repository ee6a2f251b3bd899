"""Tests when the reach is capped instead of taken back."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Work
from indexcache_core.evidence.verdict import Verdict
from indexcache_core.histogram import of
from indexcache_operator.api.status import CapStatus, Phase, ReachStatus
from indexcache_operator.plan.facts.memory import Memory, TestKey
from indexcache_operator.plan.facts.situation import Evidence, Situation
from indexcache_operator.plan.phases import capping, triggers

from tests.unit.operator.plan.build import answer, granted, judgement, pod, reaches, situation, status

BREACHED = Verdict.BREACHED
CAP = CapStatus(tokens=128, cause="RecallBelowThreshold", message="recall is bad")
WORK = (0.0, 0.0, 50.0, 30.0, 20.0, 0.0, 0.0, 0.0, 0.0)


def against(*buckets: int, **changes: Any) -> Evidence:
    """Return evidence against contexts of these buckets."""
    found = {
        TestKey("recall", None, bucket, Work.PREFILL): judgement(BREACHED, of([0.1] * 9))
        for bucket in buckets
    }
    return Evidence(answers=(answer("recall", Verdict.HOLDING, found),), reaches=reaches(0, 0, **changes))


def look(phase: Phase, kept: Any, evidence: Evidence, seen: int = 20) -> Situation:
    """Return a look at a rollout in a phase with this reach, after so many requests of minRequests' 20."""
    memory = Memory(key="try", requests_seen=seen)
    return situation(pod(), status=status(phase, reach=kept), evidence=evidence, memory=memory)


def capped(phase: Phase, kept: Any, *buckets: int) -> CapStatus | None:
    found = capping.cap(look(phase, kept, against(*buckets))).reach
    return found.cap if found else None


@pytest.mark.parametrize(
    ("phase", "kept", "buckets", "tokens"),
    [
        (Phase.SHADOWING, None, (4,), 128),
        (Phase.SHADOWING, None, (5, 3, 4), 64),
        (Phase.SHADOWING, None, (2,), 32),
        (Phase.SHADOWING, ReachStatus(cap=CAP), (3,), 64),
        (Phase.CANARY, granted(64, 128), (4,), 128),
        (Phase.PROMOTED, granted(64, 128), (5,), 256),
    ],
)
def test_it_is_capped_below_the_shortest_contexts_that_evidence_speaks_against(
    phase: Phase, kept: Any, buckets: tuple[int, ...], tokens: int
) -> None:
    found = capped(phase, kept, *buckets)
    assert found is not None
    assert (found.tokens, found.cause) == (tokens, "RecallBelowThreshold")
    assert "evidence e^" in found.message


@pytest.mark.parametrize(
    ("phase", "kept", "buckets", "expected"),
    [
        (Phase.SHADOWING, ReachStatus(cap=CAP), (4,), CAP),
        (Phase.SHADOWING, ReachStatus(cap=CAP), (5,), CAP),
        (Phase.SHADOWING, None, (), None),
        (Phase.CANARY, granted(64, 128), (3,), None),  # that takes all back
        (Phase.FALLING_BACK, ReachStatus(), (4,), None),
    ],
)
def test_else_it_stays_as_it_is(
    phase: Phase, kept: Any, buckets: tuple[int, ...], expected: CapStatus | None
) -> None:
    assert capped(phase, kept, *buckets) == expected


def ended(phase: Phase, kept: Any, evidence: Evidence, seen: int = 20) -> str | None:
    """Return with which message a try ends; None where it goes on."""
    found = triggers.apply(look(phase, kept, evidence, seen))
    assert found is None or found.fallback is not None
    return found.fallback.message if found and found.fallback else None


def test_a_breach_within_what_is_exposed_takes_all_back_and_one_beyond_nothing() -> None:
    for phase in (Phase.CANARY, Phase.PROMOTING, Phase.PROMOTED):
        assert ended(phase, granted(64, 128), against(3)) is not None
        assert ended(phase, granted(64, 128), against(4)) is None


LOW = ReachStatus(cap=replace(CAP, tokens=64))


@pytest.mark.parametrize(
    ("phase", "kept", "changes", "ends"),
    [
        (Phase.SHADOWING, LOW, {}, True),
        (Phase.CANARY, granted(32, 32, cap=LOW.cap), {}, True),
        (Phase.PROMOTED, granted(32, 32, cap=LOW.cap), {}, False),
        (Phase.SHADOWING, ReachStatus(cap=CAP), {}, True),
        (Phase.SHADOWING, ReachStatus(cap=CAP), {"min_share": 0.8}, False),
        (Phase.SHADOWING, LOW, {"seen": 19}, False),
        (Phase.CANARY, granted(32, 32, cap=LOW.cap), {"seen": 0}, True),  # they came in shadow
        (Phase.SHADOWING, LOW, {"work": (0.0,) * 9}, False),
        (Phase.SHADOWING, ReachStatus(cap=replace(CAP, tokens=32)), {"work": (1.0,) + (0.0,) * 8}, True),
        (Phase.SHADOWING, None, {}, False),
    ],
)
def test_the_try_ends_where_what_is_left_can_not_be_enough(
    phase: Phase, kept: Any, changes: dict[str, Any], ends: bool
) -> None:
    evidence = against(**{"work": WORK, **{k: v for k, v in changes.items() if k != "seen"}})
    assert (ended(phase, kept, evidence, changes.get("seen", 20)) is not None) is ends


def test_it_is_said_what_was_measured_what_would_be_left_and_what_to_do() -> None:
    said = ended(Phase.SHADOWING, ReachStatus(cap=CAP), against(work=WORK))
    assert said is not None
    for words in (
        "recall is bad",
        "up to 128 tokens are 80%",
        "asks for 90%",
        "lower spec.strategy.reach.minShare",
    ):
        assert words in said

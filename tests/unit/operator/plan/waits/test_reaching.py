"""Tests what is said of the reach."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Work
from indexcache_core.evidence.verdict import Judgement, Verdict
from indexcache_core.histogram import of
from indexcache_operator.api.status import CapStatus, Phase
from indexcache_operator.plan.facts.memory import TestKey
from indexcache_operator.plan.facts.reach import UNBOUNDED
from indexcache_operator.plan.facts.situation import Evidence, Situation
from indexcache_operator.plan.waits import reaching

from tests.unit.operator.plan.build import answer, granted, judgement, pod, reaches, situation, spec, status

WORK = (0.0, 10.0, 20.0, 63.0, 4.0, 3.0, 0.0, 0.0, 0.0)
HOLDING = judgement(Verdict.HOLDING, of([0.9] * 4))


def look(
    phase: Phase,
    kept: Any = None,
    shadow: int = 128,
    reuse: int = 128,
    tests: dict[TestKey, Judgement] | None = None,
    work: tuple[float, ...] = WORK,
) -> Situation:
    found = Evidence(
        answers=(answer("recall", Verdict.HOLDING, tests),), reaches=reaches(shadow, reuse, work=work)
    )
    return situation(pod(), status=status(phase, reach=kept), evidence=found)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(0, "-"), (64, "64"), (8192, "8K"), (1 << 18, "256K"), (8191, "8191"), (UNBOUNDED, "all")],
)
def test_a_reach_in_a_word(tokens: int, expected: str) -> None:
    assert reaching.summary(tokens) == expected


@pytest.mark.parametrize(
    ("phase", "expected"),
    [(Phase.CANARY, 128), (Phase.PROMOTING, 64), (Phase.PROMOTED, 64)],
)
def test_whom_it_is_of(phase: Phase, expected: int) -> None:
    assert reaching.exposed(look(phase, granted(64, 128))) == expected


def test_a_phase_goes_on_by_what_was_measured_in_shadow_or_under_reuse() -> None:
    assert reaching.certified(look(Phase.SHADOWING, shadow=128, reuse=64)) == 128
    assert reaching.certified(look(Phase.CANARY, shadow=128, reuse=64)) == 64


NEXT = {TestKey("recall", None, 4, Work.PREFILL): HOLDING}
NEVER = {TestKey("recall", None, 4, Work.PREFILL): judgement(Verdict.HOLDING, of([0.4] * 90))}
CAP = CapStatus(tokens=128, cause="RecallBelowThreshold", message="recall is bad")


@pytest.mark.parametrize(
    ("c", "expected"),
    [
        (
            look(Phase.PROMOTED, granted(128), tests=NEXT),
            f"reuse reaches contexts up to 128 tokens, 93% of the indexers' work; "
            f"the next 4% wait for {HOLDING.needed} more requests of 128 to 256",
        ),
        (
            look(Phase.SHADOWING, shadow=64),
            "reuse could reach contexts up to 64 tokens, 30% of the indexers' work; "
            "the next 63% wait for certificates of 64 to 128",
        ),
        (
            look(Phase.PROMOTED, granted(128), tests=NEVER),
            "reuse reaches contexts up to 128 tokens, 93% of the indexers' work; "
            "the next 4% wait for certificates of 128 to 256",
        ),
        (
            look(Phase.PROMOTED, granted(512)),
            "reuse reaches contexts up to 512 tokens, 100% of the indexers' work; "
            "no request of 512 to 1K comes",
        ),
        (
            look(Phase.PROMOTED, granted(2048)),
            "reuse reaches contexts up to 2,048 tokens, 100% of the indexers' work; "
            "no request of over 2K comes",
        ),
        (
            look(Phase.PROMOTED, granted(128, cap=CAP)),
            "reuse reaches contexts up to 128 tokens, 93% of the indexers' work; "
            "it goes no farther in this try: recall is bad",
        ),
        (
            look(Phase.CANARY, granted(32, UNBOUNDED)),
            "reuse reaches contexts of every length, 100% of the indexers' work",
        ),
        (
            look(Phase.CANARY, granted(128), work=(0.0,) * 9),
            "reuse reaches contexts up to 128 tokens; no request of 128 to 256 comes",
        ),
    ],
)
def test_the_reach_in_a_sentence(c: Situation, expected: str) -> None:
    assert reaching.sentence(c) == expected


def test_what_is_beyond() -> None:
    assert (
        reaching.beyond(look(Phase.CANARY, reuse=128))
        == "contexts over 128 tokens are 7% of the indexers' work"
    )
    assert reaching.beyond(look(Phase.CANARY, reuse=UNBOUNDED)) == ""
    assert reaching.beyond(look(Phase.CANARY, work=(0.0,) * 9)) == ""


def test_where_nothing_that_is_measured_acts_nothing_is_waited_for() -> None:
    found = Evidence(unguarded=True, reaches=reaches(UNBOUNDED, UNBOUNDED))
    kept = status(Phase.PROMOTED, reach=granted(UNBOUNDED))
    c = situation(pod(), spec=spec(guardrails={"unguarded": True}), status=kept, evidence=found)
    assert reaching.sentence(c) == "reuse reaches contexts of every length, 100% of the indexers' work"


def test_what_an_earlier_release_exposed_has_no_bound() -> None:
    assert reaching.exposed(look(Phase.PROMOTED, None)) == UNBOUNDED


def test_nothing_longer_is_waited_for_where_nothing_that_is_measured_acts() -> None:
    c = look(Phase.PROMOTED, granted(128))
    unmeasured = replace(c, evidence=replace(c.evidence, answers=()))
    assert (
        reaching.sentence(unmeasured) == "reuse reaches contexts up to 128 tokens, 93% of the indexers' work"
    )


def test_only_certificates_of_the_next_length_that_are_not_there_are_counted() -> None:
    slower = judgement(Verdict.HOLDING, of([0.7] * 4))
    assert HOLDING.needed is not None
    assert slower.needed is not None
    assert slower.needed > HOLDING.needed
    tests = {
        **NEXT,
        TestKey("recall", None, 4, Work.DECODE): replace(slower, verdict=Verdict.CERTIFIED),
        TestKey("recall", None, 5, Work.PREFILL): slower,
    }
    said = reaching.sentence(look(Phase.PROMOTED, granted(128), tests=tests))
    assert said.endswith(f"wait for {HOLDING.needed} more requests of 128 to 256")

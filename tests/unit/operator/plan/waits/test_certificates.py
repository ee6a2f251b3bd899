"""Tests which certificate is waited for, and for how long."""

from dataclasses import replace

import pytest
from indexcache_core.contract import Work
from indexcache_core.evidence.verdict import Verdict
from indexcache_core.histogram import Histogram, of
from indexcache_operator.api.status import CapStatus, Origin, Phase, ReachStatus, StepStatus, WaitStatus
from indexcache_operator.plan.facts.memory import Memory, TestKey
from indexcache_operator.plan.facts.situation import Evidence
from indexcache_operator.plan.waits import certificates

from tests.unit.operator.plan.build import (
    LEAST,
    QUALITY,
    REACHED,
    answer,
    but,
    evidence,
    judgement,
    pace,
    pod,
    reaches,
    situation,
    spec,
    status,
)
from tests.unit.operator.plan.waits.certifying import HOLDING, NEVER, SOME, STEP, case, wait


def test_how_many_are_there_how_many_are_wanted_and_how_long_that_takes() -> None:
    needed = judgement(HOLDING, SOME).needed
    assert needed is not None
    found = wait(case(judgement(HOLDING, SOME)))
    assert found == WaitStatus(
        origin=Origin.TRAFFIC,
        reason="EvidenceWanted",
        message=f"{needed} more observations of recall at 65-128 tokens in prefill, about {found.expected}",
        observations=4,
        observations_needed=needed,
        requests_per_minute=12.0,
        requests_per_minute_needed=found.requests_per_minute_needed,
        expected=found.expected,
        way_out=found.way_out,
    )
    assert "lengthen spec.strategy.progressDeadline" in found.way_out
    assert found.expected == f"{-(-needed * 10 // 4)}m"  # four came in ten minutes
    assert found.requests_per_minute_needed == pytest.approx(12 * needed / 2 / 0.4, rel=0.05)


def test_without_a_rate_nothing_is_promised() -> None:
    found = wait(case(judgement(HOLDING, SOME), pace=None))
    assert (found.expected, found.requests_per_minute) == ("", None)


def test_in_shadow_no_rate_is_needed() -> None:
    found = wait(case(judgement(HOLDING, SOME), step=None))
    assert found.requests_per_minute_needed is None
    assert "nobody is exposed" in found.way_out


def test_the_shortest_contexts_that_hold_the_reach_back_are_named() -> None:
    found = wait(case(judgement(HOLDING, of([0.9] * 2)), judgement(HOLDING, SOME), buckets=(4, 3)))
    assert "65-128 tokens" in found.message
    assert found.observations == 4


def test_of_those_the_slowest_is_named() -> None:
    tests = {
        TestKey("recall", None, 3, Work.PREFILL): judgement(HOLDING, SOME),
        TestKey("recall", None, 3, Work.DECODE): judgement(HOLDING, of([0.9] * 2)),
    }
    said = Evidence(answers=(answer("recall", HOLDING, tests),), wanted=frozenset((3, w) for w in Work))
    c = situation(pod(), status=status(step=STEP), evidence=said, memory=Memory(key="try"))
    assert "in decode" in wait(c).message
    assert certificates.needed(c) == judgement(HOLDING, of([0.9] * 2)).needed


def test_it_is_said_what_share_of_the_work_is_beyond() -> None:
    c = case(judgement(HOLDING, SOME), reaches=reaches(LEAST, LEAST))
    assert wait(c).message.endswith("; contexts over 32 tokens are 100% of the indexers' work")


def test_a_mean_at_its_threshold_is_no_matter_of_traffic() -> None:
    found = wait(case(judgement(HOLDING, NEVER)))
    assert (found.origin, found.reason, found.observations) == (Origin.PATTERN, "Undecided", 90)
    assert "lower the threshold" in found.way_out


def test_a_reach_that_holds_too_little_is_waited_for_though_no_certificate_is_named() -> None:
    unknown = wait(case(judgement(Verdict.CERTIFIED)))
    assert (unknown.origin, unknown.reason) == (Origin.TRAFFIC, "NoRequestEnded")
    work = tuple(float(bucket in (3, 4)) for bucket in range(9))
    short = wait(case(judgement(Verdict.CERTIFIED), reaches=reaches(REACHED, REACHED, work=work)))
    assert (short.reason, "over 128 tokens are 50%" in short.message) == ("ReachWanted", True)
    assert "lower spec.strategy.reach.minShare" in short.way_out


def test_under_a_cap_requests_are_waited_for_that_show_whether_enough_is_left() -> None:
    c = case(judgement(Verdict.BREACHED, NEVER), step=None, reaches=reaches(LEAST, LEAST))
    cap = CapStatus(tokens=64, cause="RecallBelowThreshold", message="recall is bad")
    found = wait(but(c, reach=ReachStatus(cap=cap)))
    assert (found.origin, found.reason) == (Origin.TRAFFIC, "ReachCapped")
    assert found.message == (
        "20 more requests, to show whether enough is left without contexts over 64 tokens: recall is bad"
    )
    far = ReachStatus(cap=replace(cap, tokens=REACHED))
    assert wait(but(c, reach=far)).reason != "ReachCapped"


def test_a_length_that_nobody_asks_for_is_named_as_such() -> None:
    found = wait(
        case(
            judgement(Verdict.NO_DATA, Histogram()),
            buckets=(4,),
            reaches=reaches(LEAST, LEAST),
            judged=9.0,
            pace=pace(9),
        )
    )
    assert "129-256 tokens in prefill yet: no request of that length comes" in found.message


@pytest.mark.parametrize(
    ("came", "judged", "step", "reason", "words"),
    [
        (0, 0, STEP, "NoObservations", "no request came"),
        (9, 0, STEP, "NoObservations", "no request was long enough to be judged"),
        (9, 3, None, "NoObservations", "recall yet"),
        (9, 9, STEP, "NoObservations", "recall yet"),
        (9, 9, None, "NothingMeasured", "though requests come that are long enough"),
    ],
)
def test_without_observations_it_is_said_what_is_missing(
    came: int, judged: float, step: StepStatus | None, reason: str, words: str
) -> None:
    found = wait(case(step=step, pace=pace(came), judged=judged))
    assert (found.reason, found.observations) == (reason, 0)
    assert words in found.message
    platform = reason == "NothingMeasured"
    assert found.origin is (Origin.PLATFORM if platform else Origin.TRAFFIC)
    assert (found.requests_per_minute_needed is None) is (step is None)
    assert found.observations_needed is not None
    assert found.observations_needed > 3


def test_probes_are_asked_whatever_the_traffic() -> None:
    asked = spec(guardrails={"recall": {"min": 0.5}, **QUALITY})

    def quality(histogram: Histogram, phase: Phase = Phase.CANARY) -> WaitStatus | None:
        found = replace(judgement(HOLDING, histogram), threshold=0.4)
        answers = (
            answer("recall", Verdict.CERTIFIED),
            answer("quality", HOLDING, {TestKey("quality"): found}, asked),
        )
        kept = status(phase, step=STEP)
        return certificates.waiting(
            situation(
                pod(),
                spec=asked,
                status=kept,
                evidence=Evidence(answers=answers, reaches=reaches(REACHED, REACHED)),
            )
        )

    some, none = quality(of([0.5] * 3)), quality(Histogram())
    assert some is not None
    assert none is not None
    assert (some.origin, some.reason) == (Origin.PLATFORM, "ProbesWanted")
    assert (none.origin, none.reason) == (Origin.PLATFORM, "NoProbeAnswered")
    assert quality(Histogram(), Phase.SHADOWING) is None  # can't be had there


def test_nothing_is_waited_for_where_all_is_certified_and_where_nothing_acts_that_is_said() -> None:
    assert certificates.waiting(situation(pod(), evidence=evidence())) is None
    assert certificates.waiting(situation(pod(), evidence=Evidence(unguarded=True))) is None
    assert certificates.waiting(situation(pod(), evidence=Evidence())) == certificates.NOTHING_ACTS


def test_a_bucket_that_is_not_needed_is_not_waited_for() -> None:
    c = case(judgement(HOLDING, NEVER), judgement(HOLDING, SOME))
    found = wait(replace(c, evidence=replace(c.evidence, wanted=frozenset({(4, Work.PREFILL)}))))
    assert found.reason == "EvidenceWanted"

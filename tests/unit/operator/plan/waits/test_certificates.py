"""Tests which certificate is waited for, and for how long."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Work
from indexcache_core.evidence.verdict import Judgement, Verdict
from indexcache_core.histogram import Histogram, of
from indexcache_operator.api.status import Origin, Phase, StepStatus, WaitStatus
from indexcache_operator.plan.facts.memory import Memory, TestKey
from indexcache_operator.plan.facts.situation import Evidence, Situation
from indexcache_operator.plan.waits import certificates

from tests.unit.operator.plan.build import (
    QUALITY,
    answer,
    at,
    evidence,
    judgement,
    pace,
    pod,
    situation,
    spec,
    status,
)

HOLDING = Verdict.HOLDING
SOME, NEVER = of([0.9] * 4), of([0.4] * 90)
STEP = StepStatus(index=0, weight=20, started_at=at(-60), reached_at=at(-30))


def case(*found: Judgement, step: StepStatus | None = STEP, **changes: Any) -> Situation:
    tests = {TestKey("recall", None, i + 3, Work.PREFILL): j for i, j in enumerate(found)}
    verdict = Verdict.NO_DATA if not found else HOLDING
    phase = Phase.CANARY if step else Phase.SHADOWING
    judged = changes.pop("judged", 0.0)
    memory = Memory(key="try", **{"pace": pace(120, observations=4.0), **changes})
    carrying = frozenset((i + 3, Work.PREFILL) for i in range(len(found)))
    found_ = Evidence(answers=(answer("recall", verdict, tests),), judged=judged, carrying=carrying)
    return situation(pod(), status=status(phase, step=step), evidence=found_, memory=memory)


def wait(c: Situation) -> WaitStatus:
    found = certificates.waiting(c)
    assert found is not None
    return found


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


def test_the_slowest_is_named() -> None:
    found = wait(case(judgement(HOLDING, SOME), judgement(HOLDING, of([0.9] * 2))))
    assert "129-256 tokens" in found.message


def test_a_mean_at_its_threshold_is_no_matter_of_traffic() -> None:
    found = wait(case(judgement(HOLDING, SOME), judgement(HOLDING, NEVER)))
    assert (found.origin, found.reason, found.observations) == (Origin.PATTERN, "Undecided", 90)
    assert "lower the threshold" in found.way_out


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
            situation(pod(), spec=asked, status=kept, evidence=Evidence(answers=answers))
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


def test_a_bucket_that_carries_little_is_not_waited_for() -> None:
    c = case(judgement(HOLDING, SOME), judgement(HOLDING, NEVER))
    found = wait(replace(c, evidence=replace(c.evidence, carrying=frozenset({(3, Work.PREFILL)}))))
    assert found.reason == "EvidenceWanted"

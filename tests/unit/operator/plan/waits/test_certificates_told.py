"""Tests all that is told of a certificate that is waited for: whose doing it is, rates, and the way out."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Work
from indexcache_core.evidence import certificate, disasters
from indexcache_core.evidence.guardrails import Name
from indexcache_core.evidence.verdict import Judgement, Verdict
from indexcache_core.histogram import Histogram, of
from indexcache_operator.api.status import CapStatus, Origin, Phase, ReachStatus, StepStatus, WaitStatus
from indexcache_operator.plan.facts.memory import Memory, TestKey
from indexcache_operator.plan.facts.situation import Evidence, Situation
from indexcache_operator.plan.waits import certificates

from tests.unit.operator.plan.build import (
    LEAST,
    QUALITY,
    REACHED,
    answer,
    but,
    judgement,
    pace,
    pod,
    reaches,
    situation,
    spec,
    status,
)
from tests.unit.operator.plan.waits.certifying import HOLDING, NEVER, SOME, STEP, case, wait

IN_SHADOW = "nothing need be done: nobody is exposed, and the certificate comes with the requests"
IN_CANARY = "send it more traffic, give its steps more weight, or lengthen spec.strategy.progressDeadline"
ASKED = spec(guardrails={"recall": {"min": 0.5}, **QUALITY})
NONE_AT_ALL = judgement(Verdict.NO_DATA, Histogram())


def test_a_mean_at_its_threshold_is_told_with_its_test() -> None:
    assert wait(case(judgement(HOLDING, NEVER))) == WaitStatus(
        origin=Origin.PATTERN,
        reason="Undecided",
        message="recall at 65-128 tokens in prefill is too near its threshold to be certified",
        observations=90,
        requests_per_minute=12.0,
        way_out="more observations may still tell; else lower the threshold, or try a pattern with more F",
    )


@pytest.mark.parametrize(("seen", "missing"), [(0, 20), (7, 13), (19, 1), (25, 1)])
def test_under_a_cap_the_missing_requests_are_counted(seen: int, missing: int) -> None:
    c = case(judgement(Verdict.BREACHED, NEVER), step=None, reaches=reaches(LEAST, LEAST), requests_seen=seen)
    cap = CapStatus(tokens=64, cause="RecallBelowThreshold", message="recall is bad")
    assert wait(but(c, reach=ReachStatus(cap=cap))) == WaitStatus(
        origin=Origin.TRAFFIC,
        reason="ReachCapped",
        message=f"{missing} more requests, to show whether enough is left without contexts over 64 tokens: "
        "recall is bad",
        requests_per_minute=12.0,
        way_out="try a pattern with more F, or lower spec.strategy.reach.minShare",
    )


def test_all_is_told_of_a_reach_that_is_waited_for() -> None:
    assert wait(case(judgement(Verdict.CERTIFIED))) == WaitStatus(
        origin=Origin.TRAFFIC,
        reason="NoRequestEnded",
        message="no user's request has ended yet, so what contexts cost isn't known",
        requests_per_minute=12.0,
        way_out="nothing need be done: it is told by the first requests that end",
    )
    work = tuple(float(bucket in (3, 4)) for bucket in range(9))
    assert wait(
        case(judgement(Verdict.CERTIFIED), reaches=reaches(REACHED, REACHED, work=work))
    ) == WaitStatus(
        origin=Origin.TRAFFIC,
        reason="ReachWanted",
        message="contexts over 128 tokens are 50% of the indexers' work, and their certificates are still "
        "wanted",
        requests_per_minute=12.0,
        way_out=f"{IN_CANARY}; or lower spec.strategy.reach.minShare",
    )


@pytest.mark.parametrize(
    ("came", "judged", "step", "changes", "reason", "said"),
    [
        (0, 0.0, STEP, {}, "NoObservations", ": no request came"),
        (9, 0.0, STEP, {}, "NoObservations", ": no request was long enough to be judged"),
        (9, 9.0, STEP, {}, "NoObservations", ""),
        (9, 9.0, STEP, {"reaches": reaches(LEAST, LEAST)}, "NoObservations", ""),
        (9, 4.9, None, {}, "NoObservations", ""),
        (5, 5.0, None, {}, "NothingMeasured", ", though requests come that are long enough"),
    ],
)
def test_all_is_told_where_nothing_was_observed(
    came: int, judged: float, step: StepStatus | None, changes: dict[str, Any], reason: str, said: str
) -> None:
    found = wait(case(NONE_AT_ALL, step=step, pace=pace(came), judged=judged, **changes))
    beyond = "; contexts over 32 tokens are 100% of the indexers' work" if changes else ""
    logs = "look at the engines' logs, and whether they serve steps of this pattern at all"
    needed = found.observations_needed
    assert found == WaitStatus(
        origin=Origin.TRAFFIC if reason == "NoObservations" else Origin.PLATFORM,
        reason=reason,
        message=f"no observation of recall at 65-128 tokens in prefill yet{said}{beyond}",
        observations=0,
        observations_needed=needed,
        requests_per_minute=came / 10,
        requests_per_minute_needed=found.requests_per_minute_needed,
        way_out=logs if reason == "NothingMeasured" else IN_SHADOW if step is None else IN_CANARY,
    )


def probing(
    *found: tuple[Name, Judgement | None], verdict: Verdict = Verdict.CERTIFIED, came: int = 9
) -> Situation:
    """Return a canary in which these certificates on probes are wanted."""
    on_probes = tuple(
        answer(name, HOLDING, {TestKey(name): told} if told else {}, ASKED) for name, told in found
    )
    return situation(
        pod(),
        spec=ASKED,
        status=status(step=STEP),
        memory=Memory(key="try", pace=pace(came)),
        evidence=Evidence(
            answers=(answer("recall", verdict, of_spec=ASKED), *on_probes), reaches=reaches(LEAST, LEAST)
        ),
    )


QUALITY_SOME = replace(judgement(HOLDING, of([0.5] * 3)), threshold=0.4)


def test_all_is_told_of_probes() -> None:
    unanswered = WaitStatus(
        origin=Origin.PLATFORM,
        reason="NoProbeAnswered",
        message="no probe was answered yet",
        observations=0,
        observations_needed=certificates.least(wanted(probing(("quality", None)))),
        requests_per_minute=0.9,
        way_out="the operator's log says why probes fail, if they do",
    )
    assert certificates.waiting(probing(("quality", None))) == unanswered
    needed = QUALITY_SOME.needed
    assert certificates.waiting(probing(("quality", QUALITY_SOME))) == WaitStatus(
        origin=Origin.PLATFORM,
        reason="ProbesWanted",
        message=f"{needed} more observations of quality",
        observations=3,
        observations_needed=needed,
        requests_per_minute=0.9,
        way_out="nothing need be done: probes are asked one by one",
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [("quality", "allow a larger drop"), ("disasters", "allow a larger maxDisasterShare")],
)
def test_what_a_probes_threshold_could_be(name: Name, words: str) -> None:
    found = certificates.waiting(probing((name, judgement(HOLDING, NEVER))))
    assert found is not None
    assert found.reason == "Undecided"
    assert found.message.startswith(f"{name} is too near its threshold to be certified; ")
    assert f"else {words}, or" in found.way_out


def wanted(c: Situation) -> certificates.Wanted:
    (found,) = certificates.wanted(c)
    return found


def test_a_certificate_needs_as_many_as_the_best_observations_would_do() -> None:
    """Of probes the best is that answers are as likely as before, and that none is lost."""
    of_recall, of_quality, of_disasters = (
        wanted(case(NONE_AT_ALL)),
        wanted(probing(("quality", None))),
        wanted(probing(("disasters", None))),
    )
    for found, best, still in (
        (of_recall, 1.0, certificate.still_needed),
        (of_quality, 0.5, certificate.still_needed),
        (of_disasters, 1.0, disasters.still_needed),
    ):
        guardrail = found.answer.guardrail
        assert guardrail.threshold is not None
        more = still(of([best]), guardrail.threshold, guardrail.beta)
        assert more is not None
        assert certificates.least(found) == more + 1


def test_those_on_probes_are_told_by_themselves() -> None:
    c = probing(("quality", QUALITY_SOME), verdict=HOLDING)
    assert len(certificates.wanted(c)) == 2
    found = certificates.of_probes(c)
    assert found is not None
    assert (found.reason, found.observations) == ("ProbesWanted", 3)
    assert certificates.of_probes(case(judgement(HOLDING, SOME))) is None


def test_how_many_are_needed_is_known_of_all_or_not_at_all() -> None:
    assert certificates.needed(case(judgement(Verdict.CERTIFIED))) == 0
    assert certificates.needed(case(judgement(HOLDING, SOME))) == judgement(HOLDING, SOME).needed
    unknown = case(judgement(HOLDING, SOME), judgement(HOLDING, NEVER), buckets=(3, 3))
    tests = {
        TestKey("recall", None, 3, Work.PREFILL): judgement(HOLDING, SOME),
        TestKey("recall", None, 3, Work.DECODE): judgement(HOLDING, NEVER),
    }
    both = Evidence(answers=(answer("recall", HOLDING, tests),), wanted=frozenset((3, w) for w in Work))
    assert certificates.needed(replace(unknown, evidence=both)) is None
    assert certificates.needed(probing(("quality", None))) is None


def test_in_shadow_nothing_is_needed_of_probes() -> None:
    c = probing(("quality", None), ("disasters", None))
    assert [w.key.guardrail for w in certificates.wanted(c)] == ["quality", "disasters"]
    assert certificates.wanted(but(c, phase=Phase.SHADOWING)) == []

"""Tests what decisions rest on: what the evidence says as a whole."""

from dataclasses import replace

import pytest
from indexcache_core.evidence.guardrails import PROBED, Name
from indexcache_core.evidence.traffic import Reached
from indexcache_core.evidence.verdict import Verdict
from indexcache_operator.plan.facts.memory import Memory, TestKey
from indexcache_operator.plan.facts.reach import UNBOUNDED
from indexcache_operator.plan.facts.situation import Evidence, Seen, Situation

from tests.unit.operator.plan.build import (
    LEAST,
    QUALITY,
    REACHED,
    answer,
    judgement,
    reaches,
    snapshot,
    spec,
    status,
)
from tests.unit.operator.plan.evidence.engines import ALL

KEY = TestKey("recall", None, 3)
ASKED = spec(guardrails={"recall": {"min": 0.5}, "overlap": {"min": 0.3}, **QUALITY})
WATCHED = spec(guardrails={"recall": {"min": 0.5, "observeOnly": True}})


def test_of_a_situation_that_nothing_is_known_of_nothing_is_said() -> None:
    fresh = Situation(snapshot=snapshot(), status=status(), memory=Memory(key="try"))
    assert (fresh.evidence, fresh.seen) == (Evidence(), Seen(reached=Reached.UNKNOWN))
    assert fresh.evidence.breach(UNBOUNDED) is None


def test_a_breach_is_found_with_the_test_that_found_it() -> None:
    breached = answer("recall", Verdict.BREACHED, {KEY: judgement(Verdict.BREACHED)})
    good = answer("overlap", Verdict.CERTIFIED, {KEY: judgement(Verdict.CERTIFIED)}, ASKED)
    assert Evidence(answers=(good, breached)).breach(UNBOUNDED) == (breached, KEY)
    watched = answer("recall", Verdict.OBSERVING, {KEY: judgement(Verdict.BREACHED)}, WATCHED)
    assert Evidence(answers=(good, watched)).breach(UNBOUNDED) is None


@pytest.mark.parametrize(
    ("recall", "quality", "certified", "in_shadow"),
    [
        (Verdict.CERTIFIED, Verdict.CERTIFIED, True, True),
        (Verdict.CERTIFIED, Verdict.NO_DATA, False, True),
        (Verdict.HOLDING, Verdict.CERTIFIED, False, False),
    ],
)
def test_all_that_act_have_to_be_certified_and_in_shadow_all_but_quality(
    recall: Verdict, quality: Verdict, certified: bool, in_shadow: bool
) -> None:
    watched = answer("recall", Verdict.OBSERVING, of_spec=WATCHED)
    acting = (answer("recall", recall, of_spec=ASKED), answer("quality", quality, of_spec=ASKED))
    tokens = REACHED if recall is Verdict.CERTIFIED else LEAST
    evidence = Evidence(answers=(*acting, watched), reaches=reaches(tokens, tokens))
    assert evidence.acting == acting
    assert evidence.certified() is certified
    assert evidence.certified(without_quality=True) is in_shadow


def says(*answers: tuple[Name, Verdict, bool]) -> Evidence:
    """Return what guardrails say, each by whether it acts."""
    asked = spec(guardrails={**ALL, **QUALITY})
    out = []
    for name, verdict, acts in answers:
        found = answer(name, verdict, {TestKey(name, None, 3): judgement(verdict)}, asked)
        out.append(replace(found, guardrail=replace(found.guardrail, acts=acts)))
    measured = [verdict for name, verdict, acts in answers if acts and name not in PROBED]
    tokens = REACHED if all(verdict is Verdict.CERTIFIED for verdict in measured) else LEAST
    return Evidence(answers=tuple(out), reaches=reaches(tokens, tokens))


def test_a_breach_is_of_a_guardrail_that_acts() -> None:
    found = says(
        ("overlap", Verdict.BREACHED, False),
        ("recall", Verdict.HOLDING, True),
        ("quality", Verdict.BREACHED, True),
    )
    breach = found.breach(UNBOUNDED)
    assert breach is not None
    assert (breach[0].guardrail.name, breach[1]) == ("quality", TestKey("quality", None, 3))
    watched = says(("overlap", Verdict.BREACHED, False), ("recall", Verdict.HOLDING, True))
    assert watched.breach(UNBOUNDED) is None


def breached_at(*buckets: int) -> Evidence:
    """Return evidence against contexts of these buckets."""
    found = {TestKey("recall", None, bucket): judgement(Verdict.BREACHED) for bucket in buckets}
    answers = (answer("recall", Verdict.BREACHED, found),)
    return Evidence(answers=answers, reaches=reaches(LEAST, LEAST))


@pytest.mark.parametrize(
    ("buckets", "exposed", "within", "beyond"),
    [
        ((3,), 128, 3, None),
        ((3,), 64, None, 3),
        ((3,), 0, None, 3),
        ((5, 4), 128, None, 4),
        ((2, 5), 128, 2, 5),
        ((8,), 128 * 16, None, 8),
        ((8,), UNBOUNDED, 8, None),
    ],
)
def test_a_breach_is_within_what_is_exposed_or_beyond_it(
    buckets: tuple[int, ...], exposed: int, within: int | None, beyond: int | None
) -> None:
    found = breached_at(*buckets)
    for breach, expected in ((found.breach(exposed), within), (found.breach_beyond(exposed), beyond)):
        assert (breach and breach[1].context) == expected


@pytest.mark.parametrize("first", [3, 4])
@pytest.mark.parametrize("worst", [3, 4])
def test_of_two_tests_the_one_that_holds_most_against_the_pattern_is_told(first: int, worst: int) -> None:
    tests = {
        TestKey("recall", None, bucket): judgement(Verdict.BREACHED, log_e=float(bucket == worst))
        for bucket in (first, 7 - first)
    }
    found = Evidence(answers=(answer("recall", Verdict.BREACHED, tests),), reaches=reaches(LEAST, LEAST))
    breach = found.breach(UNBOUNDED)
    assert breach is not None
    assert breach[1].context == worst


def test_of_two_guardrails_the_shorter_contexts_are_told() -> None:
    found: tuple[tuple[Name, int], ...] = (("overlap", 5), ("recall", 4))
    answers = [
        answer(name, Verdict.BREACHED, {TestKey(name, None, bucket): judgement(Verdict.BREACHED)}, ASKED)
        for name, bucket in found
    ]
    for order in (answers, answers[::-1]):
        breach = Evidence(answers=tuple(order), reaches=reaches(LEAST, LEAST)).breach_beyond(LEAST)
        assert breach is not None
        assert breach[1] == TestKey("recall", None, 4)


def test_a_breach_of_probes_is_of_all_that_is_exposed() -> None:
    found = answer("quality", Verdict.BREACHED, {TestKey("quality"): judgement(Verdict.BREACHED)}, ASKED)
    assert Evidence(answers=(found,), reaches=reaches(0, 0)).breach(0) == (found, TestKey("quality"))


@pytest.mark.parametrize(
    ("shadow", "reuse", "in_shadow", "under_reuse"),
    [(LEAST, LEAST, False, False), (REACHED, LEAST, True, False), (REACHED, REACHED, True, True)],
)
def test_certificates_must_reach_far_enough(
    shadow: int, reuse: int, in_shadow: bool, under_reuse: bool
) -> None:
    found = replace(says(("recall", Verdict.HOLDING, True)), reaches=reaches(shadow, reuse))
    assert (found.certified(without_quality=True), found.certified()) == (in_shadow, under_reuse)


@pytest.mark.parametrize(
    ("answers", "expected", "without_quality"),
    [
        ([("recall", Verdict.CERTIFIED, True), ("quality", Verdict.CERTIFIED, True)], True, True),
        ([("recall", Verdict.CERTIFIED, True), ("quality", Verdict.HOLDING, True)], False, True),
        ([("recall", Verdict.HOLDING, True), ("quality", Verdict.CERTIFIED, True)], False, False),
        ([("recall", Verdict.CERTIFIED, True), ("overlap", Verdict.HOLDING, False)], True, True),
        ([("quality", Verdict.CERTIFIED, True)], True, False),
        ([("recall", Verdict.OBSERVING, False)], False, False),
        ([], False, False),
    ],
)
def test_all_that_acts_must_be_certified(
    answers: list[tuple[Name, Verdict, bool]], expected: bool, without_quality: bool
) -> None:
    assert says(*answers).certified() is expected
    assert says(*answers).certified(without_quality=True) is without_quality


def test_where_nothing_acts_only_a_spec_that_asks_for_it_goes_on() -> None:
    nothing = says(("recall", Verdict.OBSERVING, False))
    assert replace(nothing, unguarded=True).certified()
    assert replace(nothing, unguarded=True).certified(without_quality=True)
    holding = says(("recall", Verdict.HOLDING, True))
    assert not replace(holding, unguarded=True).certified()

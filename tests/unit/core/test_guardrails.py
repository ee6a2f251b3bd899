"""Tests what is judged: names, tests, the split of alpha, and words."""

from typing import get_args

import pytest
from indexcache_core.contexts import JUDGED
from indexcache_core.contract import GuardrailName, Mode, Thresholds, Work
from indexcache_core.evidence import guardrails
from indexcache_core.evidence.guardrails import IN_RESOURCE, MEASURED, PROBED, STREAMS, Name, TestKey

EVIDENCE = guardrails.evidence_message(7.54, 5.3)


def test_the_names_are_those_of_the_wire_and_those_on_probes() -> None:
    assert tuple(MEASURED) == get_args(GuardrailName) == tuple(Thresholds.model_fields)
    assert tuple(IN_RESOURCE) == (*MEASURED, *PROBED) == (*MEASURED, "quality", "disasters")
    assert all(name == measured.name for name, measured in MEASURED.items())
    assert IN_RESOURCE["recall_per_indexer"] == "recallPerIndexer"


def test_both_streams_are_bet_on() -> None:
    assert STREAMS == (Mode.SHADOW, Mode.ON)


@pytest.mark.parametrize(
    ("name", "measure", "sites"),
    [("overlap", "overlap", [None]), ("recall", "recall", [None]), ("recall_per_indexer", "recall", [1, 3])],
)
def test_the_tests_of_each(name: Name, measure: str, sites: list[int | None]) -> None:
    expected = [TestKey(name, s, c, w) for s in sites for c in JUDGED for w in Work]
    measured = MEASURED[name]
    assert measured.measure == measure
    assert list(measured.tests((1, 3))) == expected
    # Each observation in a judged bucket belongs to one of them or to none, and each has some.
    found = {measured.test(site, c, w) for site in (None, 1, 3) for c in JUDGED for w in Work}
    assert found - {None} == set(expected)


@pytest.mark.parametrize("name", MEASURED)
def test_without_shared_indexers_nothing_is_judged(name: Name) -> None:
    assert MEASURED[name].tests(()) == ()


@pytest.mark.parametrize(("engines", "acting", "tests"), [(1, 1, 1), (3, 2, 7), (1000, 4, 420)])
def test_no_more_is_spent_than_alpha(engines: int, acting: int, tests: int) -> None:
    operators = guardrails.operators_alpha(0.01, engines_judge=True)
    each = guardrails.engines_alpha(0.01, engines)
    assert 0.5 * guardrails.BREAKERS * 0.01 < max(engines, 4.1) * each <= guardrails.BREAKERS * 0.01
    assert operators == pytest.approx(0.01 * (1 - guardrails.BREAKERS))
    assert acting * tests * guardrails.tests_alpha(operators, acting, tests) == pytest.approx(operators)


@pytest.mark.parametrize(
    ("engines", "of"), [(1, 8), (7, 8), (8, 8), (9, 16), (16, 16), (17, 32), (32, 32), (33, 64)]
)
def test_the_breakers_part_is_that_of_the_next_power_of_two(engines: int, of: int) -> None:
    assert guardrails.engines_alpha(0.01, engines) == pytest.approx(0.01 * guardrails.BREAKERS / of)


def test_where_engines_judge_nothing_all_of_alpha_is_the_operators() -> None:
    assert guardrails.operators_alpha(0.01, engines_judge=False) == 0.01


def test_what_has_no_tests_or_does_not_act_can_be_split_over() -> None:
    assert guardrails.tests_alpha(0.01, 0, 0) == 0.01


@pytest.mark.parametrize(
    ("test", "known", "expected"),
    [
        (
            TestKey("recall_per_indexer", 3, 2),
            {"mean": 0.049},
            "recall of indexer 3 at contexts of 129-256 tokens is 0.049 in the mean, at least 0.3 expected",
        ),
        (
            TestKey("recall_per_indexer", 3, 2),
            {"mean": 0.1, "layer": 13, "observations": 60.4},
            "recall of indexer 3 (layer 13) at contexts of 129-256 tokens is 0.100 in the mean over 60 "
            "observations, at least 0.3 expected (guardrail recall_per_indexer)",
        ),
        (
            TestKey("recall", None, None),
            {"mean": None, "observations": 3.0},
            "recall of the Shared indexers is unknown in the mean over 3 observations, at least 0.3 expected "
            "(guardrail recall)",
        ),
        (
            TestKey("recall", None, 2, Work.DECODE),
            {"mean": 0.1},
            "recall of the Shared indexers at contexts of 129-256 tokens in decode is 0.100 in the mean, at "
            "least 0.3 expected",
        ),
        (
            TestKey("overlap", None, None),
            {"mean": 0.1},
            "overlap of the Shared indexers is 0.100 in the mean, at least 0.3 expected",
        ),
        (
            TestKey("recall", None, 2),
            {"k": None},
            "recall of the Shared indexers is under the threshold, at least 0.3 expected",
        ),
    ],
)
def test_a_breach_in_words(test: TestKey, known: dict[str, float], expected: str) -> None:
    given: dict[str, object] = {"k": 64, "mean": None, "threshold": 0.3, "evidence": EVIDENCE, **known}
    said = guardrails.breach_message(test, **given)  # type: ignore[arg-type]
    assert said == f"{expected}; evidence e^7.5 against the pattern, the limit is e^5.3"


@pytest.mark.parametrize(
    ("drop", "expected"),
    [
        (0.1, "log-probability drops by 0.1000 nat a token, at most 0.02 allowed; "),
        (None, "log-probability drops by more than is allowed, at most 0.02 allowed; "),
    ],
)
def test_a_breach_of_quality_in_words(drop: float | None, expected: str) -> None:
    assert guardrails.quality_message(drop, 0.02, EVIDENCE) == expected + EVIDENCE


@pytest.mark.parametrize(("share", "found"), [(0.134, "13.40%"), (None, "more than is allowed")])
def test_a_breach_by_disasters_in_words(share: float | None, found: str) -> None:
    said = guardrails.disasters_message(share, 0.02, EVIDENCE)
    assert said.startswith(
        f"{found} of the answers are lost by over five tolerances, at most 2.00% allowed; "
    )
    assert said.endswith(EVIDENCE)

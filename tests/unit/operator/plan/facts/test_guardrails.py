"""Tests which tests a spec asks for, and each one's part of alpha."""

from typing import Any

import pytest
from indexcache_core.contexts import JUDGED
from indexcache_core.contract import Thresholds, Work
from indexcache_operator.plan.facts import guardrails
from indexcache_operator.plan.facts.guardrails import Guardrail
from indexcache_operator.plan.facts.memory import TestKey

from tests.unit.operator.plan.build import QUALITY, spec

PROBED = {"quality", "disasters"}
ALL: dict[str, Any] = {"overlap": {"min": 0.3}, "recall": {"min": 0.5, "perIndexerMin": 0.25}, **QUALITY}


def rows(asked: dict[str, Any], **changes: Any) -> dict[str, Guardrail]:
    return {row.name: row for row in guardrails.guardrails(spec(guardrails=asked, **changes))}


def test_each_guardrail_has_its_tests() -> None:
    found = rows(ALL)
    assert list(found) == ["overlap", "recall", "recall_per_indexer", "quality", "disasters"]
    assert found["overlap"].tests == tuple(TestKey("overlap", None, c, w) for c in JUDGED for w in Work)
    assert found["recall"].tests == tuple(TestKey("recall", None, c, w) for c in JUDGED for w in Work)
    assert found["recall_per_indexer"].tests == tuple(
        TestKey("recall_per_indexer", s, c, w) for s in (1, 3) for c in JUDGED for w in Work
    )
    assert found["quality"].tests == (TestKey("quality"),)
    assert found["disasters"].tests == (TestKey("disasters"),)
    assert [row.measure for row in found.values()] == ["overlap", "recall", "recall", None, None]
    assert [row.threshold for row in found.values()] == [0.3, 0.5, 0.25, 0.4, 0.98]
    assert [row.by_site for row in found.values()] == [False, False, True, False, False]
    assert all(row.acts for row in found.values())


def test_alpha_is_split_over_what_acts_and_never_overspent() -> None:
    found, breaker = rows(ALL), guardrails.breaker(spec(guardrails=ALL))
    assert breaker is not None
    assert breaker.guardrails == ("overlap", "recall", "recall_per_indexer")
    assert sum(row.alpha * len(row.tests) for row in found.values()) == pytest.approx(0.009)
    assert 8 * breaker.alpha == pytest.approx(0.001)  # of three engines: as many as of eight
    assert found["quality"].alpha == found["disasters"].alpha == pytest.approx(0.009 / 5)
    assert found["overlap"].alpha == found["recall"].alpha == pytest.approx(0.009 / 5 / 14)
    assert found["recall_per_indexer"].alpha == pytest.approx(0.009 / 5 / 28)


def test_beta_is_split_over_the_contexts_that_have_certificates_of_their_own() -> None:
    found = rows(ALL, confidence={"badPromotion": 0.07})
    assert [row.beta for row in found.values()] == pytest.approx([0.01, 0.01, 0.01, 0.07, 0.07])


@pytest.mark.parametrize(
    ("asked", "acting", "judged"),
    [
        ({"overlap": {"min": 0.3, "observeOnly": True}, "recall": {"min": 0.5}}, {"recall"}, ("recall",)),
        ({"overlap": {"min": 0.3}, "recall": {"min": 0.5, "observeOnly": True}}, {"overlap"}, ("overlap",)),
        ({"recall": {"perIndexerMin": 0.3}}, {"recall_per_indexer"}, ("recall_per_indexer",)),
        ({"recall": {"min": 0.5, "perIndexerMin": 0.3, "observeOnly": True}, **QUALITY}, PROBED, None),
        (
            {"recall": {"min": 0.5}, "quality": {**QUALITY["quality"], "observeOnly": True}},
            {"recall"},
            ("recall",),
        ),
        ({}, set(), None),
    ],
)
def test_what_only_observes_takes_no_part_of_alpha(
    asked: dict[str, Any], acting: set[str], judged: tuple[str, ...] | None
) -> None:
    found, breaker = rows(asked), guardrails.breaker(spec(guardrails=asked))
    assert {name for name, row in found.items() if row.acts} == acting
    assert (breaker and breaker.guardrails) == judged
    operators = 0.009 if judged else 0.01  # where engines judge nothing, all of alpha is the operator's
    assert sum(row.alpha * len(row.tests) for row in found.values() if row.acts) == pytest.approx(
        operators if acting else 0.0
    )


def test_protected_indexers_are_no_tests() -> None:
    found = rows({"recall": {"perIndexerMin": 0.3}}, indexCache={"pattern": "FSSS", "protected": [2]})
    assert {t.site for t in found["recall_per_indexer"].tests} == {1, 3}
    assert guardrails.effective_pattern(spec(indexCache={"pattern": "FSSS", "protected": [2]})) == "FSFS"


def test_a_pattern_without_shared_indexers_is_judged_by_no_engine() -> None:
    asked = {"recall": {"min": 0.5, "perIndexerMin": 0.3}}
    found = rows(asked, indexCache={"pattern": "FF"})
    assert (found["recall_per_indexer"].tests, found["recall_per_indexer"].acts) == ((), False)
    assert (found["recall"].tests, found["recall"].acts) == ((), False)
    assert found["recall"].alpha == found["recall_per_indexer"].alpha == pytest.approx(0.01)
    assert guardrails.breaker(spec(guardrails=asked, indexCache={"pattern": "FF"})) is None


def test_thresholds_are_published_of_what_only_observes_too() -> None:
    asked = {"overlap": {"min": 0.3, "observeOnly": True}, "recall": {"min": 0.5, "perIndexerMin": 0.25}}
    assert guardrails.thresholds(spec(guardrails=asked)) == Thresholds(
        overlap=0.3, recall=0.5, recall_per_indexer=0.25
    )
    assert guardrails.thresholds(spec(guardrails={})) == Thresholds()


def test_the_question_is_what_is_asked_of_the_evidence() -> None:
    base = guardrails.question(spec())
    assert base == guardrails.question(
        spec(engine={"image": "other", "model": "/m"}, indexCache={"pattern": "FS"})
    )
    assert base != guardrails.question(spec(guardrails={"recall": {"min": 0.6}}))
    assert base != guardrails.question(spec(confidence={"badPromotion": 0.04}))
    assert len(base) == 10


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, False),
        ({"overlap": {"min": 0.3}}, True),
        ({"overlap": {"min": 0.3, "observeOnly": True}}, False),
        ({"recall": {"min": 0.3}}, True),
        ({"recall": {"perIndexerMin": 0.3}}, True),
        ({"recall": {"min": 0.3, "perIndexerMin": 0.3, "observeOnly": True}}, False),
        ({"overlap": {"min": 0.3, "observeOnly": True}, "recall": {"min": 0.3}}, True),
        (QUALITY, False),
    ],
    ids=str,
)
def test_a_guardrail_on_what_engines_measure_guards_if_it_does_more_than_observe(
    asked: dict[str, Any], expected: bool
) -> None:
    found = spec(guardrails=asked)
    assert guardrails.guarded(found) is expected
    assert guardrails.certainty(found) == ("Certified" if expected else "Unguarded")

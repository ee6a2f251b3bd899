"""Evidence in figures."""

import math
from typing import Any

import pytest
from indexcache_core.contract import Work
from indexcache_core.evidence.verdict import Judgement, Verdict
from indexcache_core.histogram import Histogram, of
from indexcache_operator.api.status import (
    EvidenceStatus,
)
from indexcache_operator.plan.facts.memory import TestKey
from indexcache_operator.plan.facts.situation import Evidence
from indexcache_operator.plan.report import figures

from tests.unit.operator.plan.build import (
    WANTED,
    answer,
    evidence,
    granted,
    judgement,
    pod,
    reaches,
    situation,
    spec,
    status,
)
from tests.unit.operator.plan.report.published import STEP, memory, publish


def test_a_row_of_evidence() -> None:
    (row,) = figures.evidence_rows(situation(pod(), evidence=evidence(Verdict.HOLDING)))
    shown = judgement(Verdict.HOLDING)
    assert shown.lower_bound is not None
    assert row == EvidenceStatus(
        guardrail="recall",
        contexts="65-128",
        work="prefill",
        verdict=Verdict.HOLDING,
        mean=0.9,
        lower_bound=round(shown.lower_bound, 4),
        threshold=0.5,
        samples=200,
        e_value=1.0,
        alpha=answer("recall", Verdict.HOLDING).guardrail.alpha,
    )


def rows(
    judgements: dict[TestKey, Judgement], name: str = "recall", **changes: Any
) -> tuple[EvidenceStatus, ...]:
    asked = spec(guardrails={"recall": {"min": 0.5, "perIndexerMin": 0.3}})
    found = Evidence(answers=(answer(name, Verdict.HOLDING, judgements, asked),))
    return figures.evidence_rows(situation(pod("a", **changes), spec=asked, evidence=found))


def test_figures_are_rounded_and_wealth_beyond_all_need_is_cut() -> None:
    values = of([0.123456, 0.2])
    (row,) = rows({TestKey("recall", None, 3): judgement(Verdict.BREACHED, values, log_e=99.0)})
    assert (row.mean, row.e_value, row.samples) == (0.1617, figures.MOST_E, 2)
    (row,) = rows({TestKey("recall", None, 3): judgement(Verdict.HOLDING, values, log_e=1.0)})
    assert row.e_value == 2.7183
    (row,) = rows({TestKey("recall", None, 3): judgement(Verdict.NO_DATA, Histogram())})
    assert (row.mean, row.lower_bound) == (None, None)


def test_contexts_are_named_in_tokens_where_k_is_known() -> None:
    test = {TestKey("recall", None, 3): judgement(Verdict.HOLDING)}
    assert rows(test, state=None)[0].contexts == ""
    assert rows(test)[0].work == ""
    assert rows({TestKey("recall", 3, None): judgement(Verdict.HOLDING)})[0].contexts == ""


GOOD, WORSE = of([0.9] * 50), of([0.6] * 50)


@pytest.mark.parametrize(
    ("judgements", "weakest"),
    [
        ([(Verdict.HOLDING, GOOD, 0.0), (Verdict.BREACHED, GOOD, 0.0)], 1),
        ([(Verdict.NO_DATA, GOOD, 0.0), (Verdict.HOLDING, GOOD, 0.0)], 0),
        ([(Verdict.HOLDING, GOOD, 0.0), (Verdict.HOLDING, GOOD, 2.0)], 1),
        ([(Verdict.HOLDING, GOOD, 0.0), (Verdict.HOLDING, WORSE, 0.0)], 1),
        ([(Verdict.HOLDING, GOOD, 0.0), (Verdict.HOLDING, Histogram(), 0.0)], 1),
    ],
)
def test_of_the_indexers_only_the_weakest_is_shown(
    judgements: list[tuple[Verdict, Histogram, float]], weakest: int
) -> None:
    found = {TestKey("recall_per_indexer", i, None): judgement(*j) for i, j in enumerate(judgements)}
    assert [row.indexer for row in rows(found, "recall_per_indexer")] == [weakest]
    assert len(rows({TestKey("recall", None, i): j for i, j in enumerate(found.values())})) == len(judgements)
    assert rows({}, "recall_per_indexer") == ()


def summed(*found: Judgement) -> int | None:
    """Return how many observations a step with these judgements needs."""
    tests = {TestKey("recall", i, 3, Work.PREFILL): j for i, j in enumerate(found)}
    said = Evidence(answers=(answer("recall", Verdict.HOLDING, tests),), wanted=WANTED)
    step = publish(situation(pod(), status=status(step=STEP), evidence=said, memory=memory(None)))[0].step
    assert step is not None
    return step.requests_needed


SOME = judgement(Verdict.HOLDING, of([0.9] * 4))
LESS = judgement(Verdict.HOLDING, of([0.9] * 2))
NEVER = judgement(Verdict.HOLDING, of([0.1] * 9))
ENOUGH = judgement(Verdict.CERTIFIED)


def test_how_much_evidence_is_wanted_is_what_the_slowest_certificate_wants() -> None:
    assert SOME.needed is not None
    assert LESS.needed is not None
    most = max(SOME.needed, LESS.needed)
    assert summed(SOME, LESS, ENOUGH) == most
    assert summed() is None
    assert summed(SOME, NEVER) is None


def test_the_recall_column_is_the_mean_of_the_weakest_bucket_and_its_bound() -> None:
    low, high = judgement(Verdict.HOLDING, of([0.6] * 80)), judgement(Verdict.HOLDING, of([0.9] * 80))
    tests = {
        TestKey("recall", None, 2): high,
        TestKey("recall", None, 3): low,
        TestKey("recall", None, 4): judgement(Verdict.NO_DATA, Histogram()),
    }
    c = situation(
        pod(), evidence=Evidence(answers=(answer("recall", Verdict.HOLDING, tests),)), memory=memory(None)
    )
    assert publish(c)[0].recall == f"0.60 (>{low.lower_bound:.2f})"
    assert publish(situation(pod(), memory=memory(None)))[0].recall == ""
    overlap = Evidence(answers=(answer("overlap", Verdict.HOLDING, tests),))
    assert publish(situation(pod(), evidence=overlap, memory=memory(None)))[0].recall == ""


def test_every_guardrail_has_its_rows() -> None:
    asked = spec(guardrails={"overlap": {"min": 0.3}, "recall": {"min": 0.5}})
    found = [
        answer(name, Verdict.HOLDING, {TestKey(name, None, 3): judgement(Verdict.HOLDING)}, asked)
        for name in ("overlap", "recall")
    ]
    shown = figures.evidence_rows(situation(pod(), spec=asked, evidence=Evidence(answers=tuple(found))))
    assert [row.guardrail for row in shown] == ["overlap", "recall"]


def test_quality_is_shown_in_nats_as_the_spec_has_it() -> None:
    quality = {"maxLogprobDrop": 0.1, "probes": {"configMap": "p"}}
    asked = spec(guardrails={"recall": {"min": 0.5}, "quality": quality})
    shown = judgement(Verdict.HOLDING, of([0.46] * 50))  # a drop of 0.4 tolerances
    assert shown.lower_bound is not None
    found = Evidence(answers=(answer("quality", Verdict.HOLDING, {TestKey("quality"): shown}, asked),))
    (row,) = figures.evidence_rows(situation(pod(), spec=asked, evidence=found))
    assert row == EvidenceStatus(
        guardrail="quality",
        verdict=Verdict.HOLDING,
        mean=0.04,
        upper_bound=round((1 - shown.lower_bound) * 1.0 - 0.5, 4),
        threshold=0.1,
        unit="nats a token",
        samples=50,
        e_value=1.0,
        alpha=found.answers[0].guardrail.alpha,
    )
    none = judgement(Verdict.NO_DATA, Histogram())
    found = Evidence(answers=(answer("quality", Verdict.NO_DATA, {TestKey("quality"): none}, asked),))
    (row,) = figures.evidence_rows(situation(pod(), spec=asked, evidence=found))
    assert (row.mean, row.upper_bound) == (None, None)


def test_the_evidence_for_alerts_is_the_worst_of_each_guardrail_against_its_limit() -> None:
    found = [judgement(Verdict.HOLDING, GOOD, log_e=1.0), judgement(Verdict.HOLDING, GOOD, log_e=3.0)]
    acting = answer("recall", Verdict.HOLDING, {TestKey("recall", None, i): j for i, j in enumerate(found)})
    (row,) = figures.live(situation(evidence=Evidence(answers=(acting,))))
    assert (row.guardrail, row.log_e) == ("recall", 3.0)
    assert row.log_limit == pytest.approx(-math.log(acting.guardrail.alpha))


def test_evidence_on_contexts_that_no_pod_may_serve_raises_no_alert() -> None:
    found = {
        TestKey("recall", None, 3, Work.PREFILL): judgement(Verdict.HOLDING, GOOD, log_e=1.0),
        TestKey("recall", None, 5, Work.PREFILL): judgement(Verdict.BREACHED, GOOD, log_e=30.0),
    }
    said = Evidence(answers=(answer("recall", Verdict.HOLDING, found),), reaches=reaches(0, 0))
    for kept, log_e in ((granted(32), 0.0), (granted(32, 128), 1.0), (granted(512), 30.0)):
        (row,) = figures.live(situation(status=status(reach=kept), evidence=said))
        assert row.log_e == log_e


def test_guardrails_that_only_observe_share_what_alerts_may_spend() -> None:
    watched = {
        "overlap": {"min": 0.3, "observeOnly": True},
        "recall": {"min": 0.5, "observeOnly": True},
        "unguarded": True,
    }
    asked = spec(guardrails=watched)
    answers = tuple(answer(name, Verdict.OBSERVING, {}, asked) for name in ("overlap", "recall"))
    rows = figures.live(situation(spec=asked, evidence=Evidence(answers=answers)))
    assert [row.log_e for row in rows] == [0.0, 0.0]
    spent = sum(
        len(a.guardrail.tests) * math.exp(-row.log_limit) for a, row in zip(answers, rows, strict=True)
    )
    assert spent == pytest.approx(asked.confidence.false_rollback)


def test_a_guardrail_without_a_threshold_proves_nothing() -> None:
    unset = answer("overlap", Verdict.OBSERVING)
    assert figures.live(situation(evidence=Evidence(answers=(unset,)))) == ()

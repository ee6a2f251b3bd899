"""Tests what is said of single tests."""

from dataclasses import replace

import pytest
from indexcache_core.contract import Work
from indexcache_core.evidence import detector
from indexcache_core.evidence.guardrails import STREAMS
from indexcache_core.evidence.verdict import Verdict
from indexcache_core.histogram import Histogram, of
from indexcache_operator.plan.evidence import bets, counters, judgements
from indexcache_operator.plan.evidence.judgements import Judgements
from indexcache_operator.plan.facts.guardrails import guardrails
from indexcache_operator.plan.facts.memory import Memory, Stream, TotalKey

from tests.unit.operator.plan.build import spec
from tests.unit.operator.plan.evidence.engines import judged_by, recall_at, total

SHADOW, ON = STREAMS
GOOD, BAD = of([0.95] * 300), of([0.05] * 300)
RECALL = next(g for g in guardrails(spec()) if g.name == "recall")


def remembering(totals: dict[TotalKey, Histogram]) -> Memory:
    """Return a memory that holds this, with the bets of a reader that has just begun."""
    new = counters.Batches()
    for key, histogram in totals.items():
        new.add(key, histogram)
    return bets.place(spec(), Memory(key="try", totals=totals), new, 2)


def test_a_test_is_judged_by_one_stream_and_by_the_bets_on_both() -> None:
    memory = remembering({total(mode=SHADOW): GOOD, total(mode=ON): of([0.9] * 2)})
    judged, test = Judgements(memory), judged_by()
    shadow, on = (judged.of(RECALL, test, stream) for stream in STREAMS)
    assert (shadow.verdict, shadow.histogram) == (Verdict.CERTIFIED, GOOD)
    assert (on.verdict, on.samples) == (Verdict.HOLDING, 2)
    both = detector.log_e([memory.detectors[recall_at(3, stream)] for stream in STREAMS])
    assert shadow.log_e == on.log_e == judged.log_e(test) == both
    assert judged.of(RECALL, test, STREAMS[0]) is shadow


def test_a_breach_in_one_stream_is_no_certificate_in_the_other() -> None:
    judged = Judgements(remembering({total(mode=SHADOW): GOOD, total(mode=ON): BAD}))
    assert {judged.of(RECALL, judged_by(), stream).verdict for stream in STREAMS} == {Verdict.BREACHED}


def test_a_guardrail_that_only_observes_passes_no_verdict() -> None:
    observing = replace(RECALL, acts=False)
    judged = Judgements(remembering({total(): GOOD}))
    assert judged.of(observing, judged_by(), SHADOW).verdict is Verdict.OBSERVING


@pytest.mark.parametrize("binary", [None, False, True])
def test_it_is_certified_as_means_are_unless_it_is_of_single_answers(binary: bool | None) -> None:
    asked = {} if binary is None else {"binary": binary}
    found = judgements.judgement(RECALL, GOOD, 0.0, **asked)
    assert found.binary is bool(binary)


@pytest.mark.parametrize(
    ("bucket", "stream", "expected"),
    [(3, SHADOW, True), (3, ON, False), (4, ON, True), (4, SHADOW, False), (5, ON, False)],
)
def test_whether_anything_was_measured_in_a_bucket(bucket: int, stream: Stream, expected: bool) -> None:
    found = {total(mode=SHADOW): GOOD, total(context=4, mode=ON, work=Work.DECODE): of([0.1])}
    judged = Judgements(Memory(key="try", totals=found))

    assert judged.any_counted([RECALL], bucket, stream) is expected


def test_the_mean_of_a_test_is_of_all_that_it_saw() -> None:
    totals = {total(mode=ON): of([0.2] * 3), total(): of([0.4] * 3), total(site=1, mode=ON): BAD}
    assert judgements.mean(remembering(totals), RECALL, judged_by()) == pytest.approx(0.3)
    assert judgements.mean(remembering(totals), RECALL, judged_by(context=9)) is None

"""The evidence that a breaker holds: what is bet on, against which limit, and what begins late."""

import math
import random

import pytest
from indexcache_core import contract
from indexcache_core.contexts import JUDGED
from indexcache_core.contract import BreakerTest, Thresholds, Work
from indexcache_core.evidence import detector
from indexcache_core.evidence.detector import Detector
from indexcache_core.histogram import of
from indexcache_runtime.measuring.breaker import Breaker

from tests.unit.runtime.measuring.breaking import ALL, CONTEXT, M0, SHARED, SITES, breaker, cell, feed


def test_nothing_measured_nothing_said() -> None:
    b = breaker()
    for second in range(1, 1000):
        b.look([], second)
    assert b.breach() is None
    limits = [math.log(3 * len(JUDGED) * len(Work) * n / 0.01) for n in (1, 1, len(SHARED))]
    standing = b.standing()
    assert [test.log_limit for test in standing] == pytest.approx(limits)
    assert standing == tuple(
        BreakerTest(guardrail=g, log_limit=t.log_limit) for g, t in zip(ALL, standing, strict=True)
    )


def test_the_approach_can_be_watched() -> None:
    b = breaker()
    feed(b, 2, {1: [0.1] * 6})
    first = b.standing()[2]
    feed(b, 3, {1: [0.1] * 6})
    second = b.standing()[2]
    assert 0 < first.log_e < second.log_e < second.log_limit
    assert (second.site, second.observations) == (1, 12)


def test_one_that_begins_late_holds_no_more_than_one_that_saw_all() -> None:
    rng = random.Random(3)
    values = [[rng.random() * 0.9 for _ in range(4)] for _ in range(60)]
    whole, late = breaker(), breaker(slot=31)
    for second, vs in enumerate(values, 1):
        feed(whole, second, {1: vs})
    feed(late, 31, {1: [v for vs in values[:31] for v in vs]})
    for second, vs in enumerate(values[31:], 32):
        feed(late, second, {1: vs})
    for a, b in zip(late.standing(), whole.standing(), strict=True):
        assert a.log_e <= b.log_e + 1e-9
        assert a.observations == b.observations
        assert a.mean == pytest.approx(b.mean)


def test_a_guardrail_without_a_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"thresholds\.overlap: missing"):
        Breaker(contract.Breaker(alpha=0.1, guardrails=("overlap",)), Thresholds(recall=0.5), SHARED)


def test_each_guardrail_has_its_limit() -> None:
    limits = {t.guardrail: t.log_limit for t in breaker(0.02).standing()}
    assert limits == pytest.approx(
        {
            "overlap": math.log(3 * 7 * 2 / 0.02),
            "recall": math.log(3 * 7 * 2 / 0.02),
            "recall_per_indexer": math.log(3 * 7 * 2 * 2 / 0.02),
        }
    )
    (alone,) = breaker(0.02, ("recall_per_indexer",)).standing()
    assert alone.log_limit == pytest.approx(math.log(7 * 2 * 2 / 0.02))
    none_shared = Breaker(
        contract.Breaker(alpha=0.1, guardrails=ALL),
        Thresholds(overlap=M0, recall=M0, recall_per_indexer=M0),
        (),
    )
    assert [t.log_limit for t in none_shared.standing()] == pytest.approx([math.log(3 / 0.1)] * 3)


def bet(values: list[float], slot: int = 2, begun: int = 1, m0: float = M0) -> float:
    """Return the wealth of one look."""
    return Detector(log_s=detector.fresh().log_s, slot=begun).after(of(values), m0, slot).log_e


def test_one_looks_evidence() -> None:
    """What is told of the mean over the sites is what tests of it bet on, and nothing that is told of
    sites."""
    b = breaker()
    b.look(
        [
            (cell(1), of([0.1, 0.2]), of([0.3])),
            (cell(None), of([0.1, 0.4]), of([0.2, 0.45, 0.6])),
            (cell(3), of([0.4]), of([0.5, 0.6])),
        ],
        2,
    )
    overlap, recall, by_site = b.standing()
    found = [t.log_e for t in (overlap, recall, by_site)]
    assert found == pytest.approx([bet([0.1, 0.4]), bet([0.2, 0.45, 0.6]), bet([0.3])])
    assert [t.mean for t in (overlap, recall, by_site)] == pytest.approx([0.25, 1.25 / 3, 0.3])
    assert (overlap.observations, recall.observations, by_site.observations) == (2, 3, 1)
    assert by_site.site == 1
    for test in (overlap, recall):
        assert (test.site, test.context, test.work) == (None, CONTEXT, Work.PREFILL)
    assert (by_site.context, by_site.work) == (CONTEXT, Work.PREFILL)


def test_without_sites_nothing_is_bet_by_site_and_without_the_mean_nothing_on_it() -> None:
    b = breaker()
    b.look([(cell(None), of([0.1]), of([0.2]))], 2)
    assert [t.observations for t in b.standing()] == [1, 1, 0]
    b = breaker()
    b.look([(cell(1), of([0.1]), of([0.2]))], 2)
    assert [t.observations for t in b.standing()] == [0, 0, 1]


def test_thresholds_are_each_guardrails_own() -> None:
    b = Breaker(
        contract.Breaker(alpha=0.01, guardrails=ALL),
        Thresholds(overlap=0.3, recall=0.4, recall_per_indexer=0.6),
        SHARED,
    )
    feed(b, 2, {1: [0.2]})
    assert [t.log_e for t in b.standing()] == pytest.approx(
        [bet([0.2], m0=0.3), bet([0.2], m0=0.4), bet([0.2], m0=0.6)]
    )


def test_contexts_sites_and_kinds_of_work_are_bet_on_apart() -> None:
    b = breaker(guardrails=("recall", "recall_per_indexer"))
    feed(b, 2, {1: [0.1, 0.2], 3: [0.3, 0.4]})
    feed(b, 2, {1: [0.3]}, context=CONTEXT + 1)
    feed(b, 2, {1: [0.4]}, work=Work.DECODE)
    recall, by_site = b.standing()
    assert (recall.context, by_site.site, by_site.context) == (CONTEXT, 1, CONTEXT)
    assert recall.work is by_site.work is Work.PREFILL
    assert [recall.log_e, by_site.log_e] == pytest.approx([bet([0.2, 0.3]), bet([0.1, 0.2])])
    feed(b, 2, {1: [0.0] * 9}, work=Work.DECODE)
    assert [(t.site, t.context, t.work, t.observations) for t in b.standing()] == [
        (None, CONTEXT, Work.DECODE, 10),
        (1, CONTEXT, Work.DECODE, 10),
    ]
    assert "129-256 tokens in decode is " in b.message(b.standing()[0], SITES)


def test_looks_add_up_and_slots_are_opened_once() -> None:
    b = breaker(guardrails=("overlap",))
    for slot, value in ((3, 0.1), (3, 0.2), (9, 0.3)):
        feed(b, slot, {1: [value]})
    expected = detector.fresh()
    for slot, value in ((3, 0.1), (3, 0.2), (9, 0.3)):
        expected = expected.after(of([value]), M0, slot)
    (standing,) = b.standing()
    assert standing.log_e == pytest.approx(expected.log_e)
    assert standing.mean == pytest.approx(0.2)


def test_one_that_begins_within_a_series_leaves_the_slots_before_it_unopened() -> None:
    b = breaker(guardrails=("overlap",), slot=7)
    feed(b, 9, {1: [0.1]})
    assert b.standing()[0].log_e == pytest.approx(bet([0.1], slot=9, begun=7))


def test_it_breaches_at_its_limit_and_takes_it_back_under_it() -> None:
    b = breaker(guardrails=("overlap",))
    slot = 1
    while b.breach() is None:
        slot += 1
        feed(b, slot, {1: [0.1]})
    found = b.breach()
    assert found is not None
    assert found == b.standing()[0]
    assert found.log_e >= found.log_limit
    exact = breaker(alpha=14 / math.exp(found.log_e - 1e-9), guardrails=("overlap",))
    under = breaker(alpha=14 / math.exp(found.log_e + 1e-9), guardrails=("overlap",))
    for second in range(2, slot + 1):
        feed(exact, second, {1: [0.1]})
        feed(under, second, {1: [0.1]})
    assert (exact.breach() is not None, under.breach()) == (True, None)
    while b.breach() is not None:
        feed(b, slot, {1: [1.0] * 5})
    assert b.standing()[0].log_e < found.log_limit


def test_the_nearest_to_its_limit_stands_for_a_guardrail() -> None:
    b = breaker(guardrails=("recall_per_indexer",))
    feed(b, 2, {1: [0.1], 3: [0.4]})
    assert b.standing()[0].site == 1
    feed(b, 2, {3: [0.1] * 9})
    assert b.standing()[0].site == 3


def test_a_context_that_is_not_judged_hides_no_other() -> None:
    b = breaker(guardrails=("recall",))
    b.look([(cell(None, context=0), of([0.1]), of([0.1])), (cell(None), of([0.1]), of([0.1]))], 2)
    assert b.standing()[0].observations == 1


def test_of_two_as_near_the_first_stands() -> None:
    b = breaker(guardrails=("recall_per_indexer",))
    feed(b, 2, {3: [0.1], 1: [0.1]})
    assert b.standing()[0].site == 3

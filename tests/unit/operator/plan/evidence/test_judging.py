"""Tests what each guardrail says."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_core.evidence import detector
from indexcache_core.evidence.detector import Detector
from indexcache_core.evidence.guardrails import Name
from indexcache_core.evidence.verdict import Verdict
from indexcache_core.histogram import Histogram, of
from indexcache_operator.api.status import Phase
from indexcache_operator.plan.evidence import judging
from indexcache_operator.plan.facts.guardrails import guardrails
from indexcache_operator.plan.facts.memory import Memory, TestKey, TotalKey
from indexcache_operator.plan.facts.probing import Probing

from tests.unit.operator.plan.build import (
    QUALITY,
    case,
    snapshot,
    spec,
    status,
)
from tests.unit.operator.plan.evidence.engines import bet, recall_at, total

GOOD, BAD = of([0.95] * 300), of([0.05] * 300)


def remembering(
    totals: dict[TotalKey, Histogram], contexts: dict[int, float] | None = None, asked: Any = None
) -> Memory:
    """Return a memory that holds this, with the bets of a reader that has just begun."""
    counts = tuple((contexts or {3: 1.0}).get(i, 0.0) for i in range(9))
    out = Memory(key="try", totals=totals, contexts=counts)
    detectors: dict[Any, Detector] = {}
    for row in guardrails(asked or spec()):
        for test in row.tests:
            for mode in (Mode.SHADOW, Mode.ON):
                under = Histogram()
                for key, h in totals.items():
                    if (key.measure, key.context, key.mode) == (
                        row.measure,
                        test.context,
                        mode,
                    ) and test.site in (None, key.site):
                        under = under.plus(h)
                if row.threshold is not None and row.measure is not None:
                    detectors[test, mode] = detector.resumed(under, row.threshold, 2, row.share)
    return replace(out, detectors=detectors)


def judged(memory: Memory, phase: Phase = Phase.CANARY, asked: Any = None, name: str = "recall") -> Any:
    found = judging.judge(case(snapshot(spec=asked or spec(), status=status(phase)), memory=memory))
    return next(a for a in found.answers if a.guardrail.name == name)


ON = Mode.ON


@pytest.mark.parametrize("phase", Phase)
def test_certificates_rest_on_shadow_before_anybody_is_exposed_and_on_reuse_afterwards(phase: Phase) -> None:
    only_shadow, only_on = remembering({total(): GOOD}), remembering({total(mode=ON): GOOD})
    shadow = phase in (Phase.PENDING, Phase.CHECKING, Phase.SHADOWING)
    assert judged(only_shadow, phase).verdict is (Verdict.CERTIFIED if shadow else Verdict.NO_DATA)
    assert judged(only_on, phase).verdict is (Verdict.NO_DATA if shadow else Verdict.CERTIFIED)


def test_every_context_that_carries_traffic_wants_a_certificate() -> None:
    totals = {total(context=3, mode=ON): GOOD}
    assert judged(remembering(totals, {3: 95, 4: 5})).verdict is Verdict.NO_DATA
    assert judged(remembering(totals, {3: 96, 4: 4})).verdict is Verdict.CERTIFIED
    assert judged(remembering(totals, {3: 50, 1: 50})).verdict is Verdict.CERTIFIED  # not judged
    assert judged(remembering(totals, {4: 100})).verdict is Verdict.NO_DATA
    assert judged(remembering(totals, {})).verdict is Verdict.CERTIFIED


def test_what_carries_little_is_shown_and_decides_nothing() -> None:
    little = of([0.95])
    found = judged(
        remembering(
            {
                total(context=3, mode=ON): GOOD,
                total(context=4, mode=ON): little,
                total(context=1, mode=ON): little,
            }
        )
    )
    assert found.verdict is Verdict.CERTIFIED
    assert {key: j.verdict for key, j in found.judgements.items()} == {
        TestKey("recall", None, 3): Verdict.CERTIFIED,
        TestKey("recall", None, 4): Verdict.HOLDING,
    }


def test_the_overall_mean_is_over_all_indexers_and_of_its_own_measure() -> None:
    totals = {total(mode=ON): GOOD, total(site=3, mode=ON): BAD, total(measure="overlap", mode=ON): BAD}
    (j,) = judged(remembering(totals)).judgements.values()
    assert j.histogram.counts == GOOD.plus(BAD).counts
    assert (j.share, j.threshold, j.beta) == (0.5, 0.5, 0.05)
    asked = spec(confidence={"badPromotion": 0.2})
    assert next(iter(judged(remembering(totals), asked=asked).judgements.values())).beta == 0.2


PER_SITE = spec(guardrails={"recall": {"perIndexerMin": 0.3}})


def test_each_indexer_wants_a_certificate_over_all_its_contexts() -> None:
    totals = {total(context=3, mode=ON): of([0.95] * 30), total(context=4, mode=ON): of([0.95] * 30)}
    found = judged(remembering(totals, asked=PER_SITE), asked=PER_SITE, name="recall_per_indexer")
    assert found.verdict is Verdict.NO_DATA
    one, three = TestKey("recall_per_indexer", 1), TestKey("recall_per_indexer", 3)
    assert {key: j.verdict for key, j in found.judgements.items()} == {
        one: Verdict.CERTIFIED,
        three: Verdict.NO_DATA,
    }
    assert found.judgements[one].histogram.count == 60
    both = {**totals, total(site=3, mode=ON): GOOD}
    assert (
        judged(remembering(both, asked=PER_SITE), asked=PER_SITE, name="recall_per_indexer").verdict
        is Verdict.CERTIFIED
    )


@pytest.mark.parametrize("where", [total(mode=ON), total(context=8, mode=ON), total(mode=Mode.SHADOW)])
@pytest.mark.parametrize(("asked", "name"), [(spec(), "recall"), (PER_SITE, "recall_per_indexer")])
def test_a_breach_counts_wherever_it_is(where: TotalKey, asked: Any, name: Name) -> None:
    memory = remembering({where: BAD}, asked=asked)
    found = judged(memory, asked=asked, name=name)
    assert found.verdict is Verdict.BREACHED
    test = TestKey(name, 1 if name == "recall_per_indexer" else None, where.context)
    worst = detector.log_e([memory.detectors[test, Mode.SHADOW], memory.detectors[test, Mode.ON]])
    (breached,) = [j for j in found.judgements.values() if j.verdict is Verdict.BREACHED]
    assert breached.log_e == pytest.approx(worst)


def test_the_worst_bet_under_a_certificate_is_its_wealth() -> None:
    memory = remembering(
        {total(context=3, mode=ON): GOOD, total(context=5, mode=ON): of([0.1] * 2)}, asked=PER_SITE
    )
    found = judged(memory, asked=PER_SITE, name="recall_per_indexer")
    test = TestKey("recall_per_indexer", 1, 5)
    bets = [memory.detectors[test, Mode.SHADOW], memory.detectors[test, Mode.ON]]
    assert found.judgements[TestKey("recall_per_indexer", 1)].log_e == pytest.approx(detector.log_e(bets))
    assert found.judgements[TestKey("recall_per_indexer", 3)].log_e == pytest.approx(
        detector.log_e([bet([], 0.3, 2, 1.0)] * 2)
    )


def test_where_each_stream_is_bet_on_half_and_half() -> None:
    memory = remembering({total(mode=ON): of([0.1] * 9), total(): of([0.9] * 9)})
    (j,) = judged(memory).judgements.values()
    assert j.log_e == pytest.approx(
        detector.log_e([memory.detectors[recall_at(3)], memory.detectors[recall_at(3, ON)]])
    )


def test_what_only_observes_shows_its_figures_and_never_acts() -> None:
    asked = spec(guardrails={"recall": {"min": 0.5, "observeOnly": True}, "overlap": {"min": 0.3}})
    memory = remembering({total(mode=ON): BAD}, asked=asked)
    found = judged(memory, asked=asked)
    assert (found.verdict, [j.verdict for j in found.judgements.values()]) == (
        Verdict.OBSERVING,
        [Verdict.OBSERVING],
    )
    assert judged(remembering({}, {4: 1.0}, asked=asked), asked=asked).verdict is Verdict.OBSERVING
    assert judged(Memory(key="try"), asked=asked).verdict is Verdict.OBSERVING
    assert judged(Memory(key="try")).verdict is Verdict.NO_DATA


def test_a_guardrail_without_a_threshold_is_shown() -> None:
    found = judged(remembering({total(measure="overlap", mode=ON): GOOD}), name="overlap")
    assert found.verdict is Verdict.OBSERVING


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], Verdict.NO_DATA), ([0.5] * 3, Verdict.HOLDING), ([0.9] * 99, Verdict.CERTIFIED)],
)
def test_quality_is_judged_by_its_probes(values: list[float], expected: Verdict) -> None:
    asked = spec(guardrails=QUALITY)
    memory = Memory(key="try", quality=of(values), quality_detector=detector.resumed(of(values), 0.4, 2))
    found = judged(memory, asked=asked, name="quality")
    assert found.verdict is expected
    (j,) = found.judgements.values()
    assert (list(found.judgements), j.threshold, j.beta, j.histogram) == (
        [TestKey("quality")],
        0.4,
        0.05,
        of(values),
    )
    assert j.log_e == detector.resumed(of(values), 0.4, 2).log_e
    (none,) = judged(Memory(key="try"), asked=asked, name="quality").judgements.values()
    assert (none.log_e, none.verdict) == (0.0, Verdict.NO_DATA)


def test_quality_breaches_and_only_observes_where_so_asked() -> None:
    bad = Memory(key="try", quality=BAD, quality_detector=detector.resumed(BAD, 0.4, 2))
    assert judged(bad, asked=spec(guardrails=QUALITY), name="quality").verdict is Verdict.BREACHED
    observed = spec(guardrails={"quality": {**QUALITY["quality"], "observeOnly": True}})
    assert judged(bad, asked=observed, name="quality").verdict is Verdict.OBSERVING


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ([], Verdict.NO_DATA),
        ([1.0] * 175, Verdict.HOLDING),
        ([1.0] * 176, Verdict.CERTIFIED),
        ([1.0] * 176 + [0.0], Verdict.HOLDING),
        ([1.0] * 60 + [0.0] * 9, Verdict.BREACHED),
    ],
)
def test_answers_that_are_wholly_lost_are_judged_by_their_share(kept: list[float], expected: Verdict) -> None:
    """The values themselves may be fine: what is clipped counts little in a mean."""
    asked, values = spec(guardrails=QUALITY), of(kept)
    probing = Probing(kept=values, detector=detector.resumed(values, 0.98, 2))
    memory = Memory(key="try", quality=of([0.9] * 99), probing=probing)
    found = judged(memory, asked=asked, name="disasters")
    assert found.verdict is expected
    (j,) = found.judgements.values()
    assert (list(found.judgements), j.threshold, j.histogram, j.binary) == (
        [TestKey("disasters")],
        0.98,
        values,
        True,
    )
    assert judged(Memory(key="try"), asked=asked, name="disasters").verdict is Verdict.NO_DATA


def test_the_shares_of_the_judged_traffic_are_told() -> None:
    assert judging.judge(case(snapshot(), memory=remembering({}, {1: 50, 3: 30, 4: 10}))).shares == {
        3: 0.75,
        4: 0.25,
    }


def test_the_decisive_test_is_the_one_that_holds_most_against_the_pattern() -> None:
    totals = {
        total(context=3, mode=ON): GOOD,
        total(context=5, mode=ON): BAD,
        total(site=3, context=5, mode=ON): GOOD,
    }
    memory = remembering(totals, asked=PER_SITE)
    row = next(g for g in guardrails(PER_SITE) if g.name == "recall_per_indexer")
    assert judging.decisive(memory, row, TestKey("recall_per_indexer", 1)) == (
        TestKey("recall_per_indexer", 1, 5),
        BAD.mean,
    )
    only = TestKey("recall_per_indexer", 1, 3)
    assert judging.decisive(memory, row, only) == (only, GOOD.mean)
    overall = next(g for g in guardrails(spec()) if g.name == "recall")
    found, mean = judging.decisive(remembering(totals), overall, TestKey("recall", None, 5))
    assert found == TestKey("recall", None, 5)
    assert mean == pytest.approx(0.5)
    unknown = TestKey("recall", 9, 9)
    assert judging.decisive(memory, row, unknown) == (unknown, None)


def test_a_breach_of_shadow_counts_where_nothing_is_asked_of_reuse() -> None:
    """A context without traffic and without measurements under reuse: no certificate is over it."""
    asked = spec(confidence={"badPromotion": 0.2})
    memory = remembering({total(context=8): BAD, total(mode=ON): GOOD})
    found = judged(memory, asked=asked)
    test = TestKey("recall", None, 8)
    bets = [memory.detectors[test, Mode.SHADOW], memory.detectors[test, Mode.ON]]
    assert found.verdict is Verdict.BREACHED
    assert vars(found.judgements[test]) == {
        "verdict": Verdict.BREACHED,
        "histogram": Histogram(),
        "threshold": 0.5,
        "log_e": detector.log_e(bets),
        "beta": 0.2,
        "share": 0.5,
        "binary": False,
    }
    assert list(found.judgements) == [TestKey("recall", None, 3), test]


def test_what_an_engine_measured_of_a_full_indexer_is_shown_and_nothing_was_bet_on_it() -> None:
    memory = remembering({total(site=2, mode=ON): GOOD}, asked=PER_SITE)
    found = judged(memory, asked=PER_SITE, name="recall_per_indexer")
    assert found.judgements[TestKey("recall_per_indexer", 2)].log_e == 0.0
    assert found.verdict is Verdict.NO_DATA

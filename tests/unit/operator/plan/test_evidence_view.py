"""From engines' counters to what each test says."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import JUDGED, Flags, Identity, Mode, Series, State
from indexcache_core.evidence import detector
from indexcache_core.evidence.detector import Detector
from indexcache_core.evidence.guardrails import Name
from indexcache_core.evidence.verdict import Verdict
from indexcache_core.histogram import Histogram, of
from indexcache_operator.api.status import Phase, Status
from indexcache_operator.plan import evidence_view
from indexcache_operator.plan.guardrails import guardrails
from indexcache_operator.plan.memory import Memory, SeriesKey, TestKey, TotalKey
from indexcache_operator.plan.situation import Evidence

from tests.unit.operator.plan.build import (
    QUALITY,
    REVISION,
    answer,
    at,
    case,
    engine,
    judgement,
    look,
    pod,
    spec,
    status,
)

SLOT = 101
"""Of a look a hundred seconds after the try began."""
ALL: dict[str, Any] = {"overlap": {"min": 0.3}, "recall": {"min": 0.5, "perIndexerMin": 0.25}}


def series(
    recall: list[float],
    site: int = 1,
    context: int = 3,
    mode: Any = Mode.SHADOW,
    overlap: list[float] | None = None,
) -> Series:
    return Series(
        site=site,
        context=context,
        mode=mode,
        overlap=of(recall if overlap is None else overlap),
        recall=of(recall),
    )


def measured(
    *found: Series,
    revision: str = REVISION,
    pattern: str = "FSFS",
    protected: tuple[int, ...] = (),
    **changes: Any,
) -> State:
    """An engine that measures for this try."""
    desired = Flags(mode=Mode.SHADOW, pattern=pattern, protected=protected)
    return engine(
        Mode.SHADOW,
        series=found,
        identity=Identity(revision=revision),
        desired=desired,
        series_number=1,
        **changes,
    )


def observe(
    *states: State | None, memory: Memory | None = None, names: str = "abc", **changes: Any
) -> Memory:
    pods = [pod(name, state) for name, state in zip(names, states, strict=False)]
    return evidence_view.observe(case(look(*pods, **changes), memory=memory or Memory(key="try")))


def total(site: int = 1, context: int = 3, measure: Any = "recall", mode: Any = Mode.SHADOW) -> TotalKey:
    return TotalKey(measure, site, context, mode)


def test_a_memory_belongs_to_one_try_under_one_question() -> None:
    fresh = evidence_view.begin(look(), None)
    known = replace(fresh, requests_seen=7)
    assert evidence_view.begin(look(), known) is known
    others = [
        look(status=status(revision="other")),
        look(status=status(revision_started_at=at(-1))),
        look(spec=spec(guardrails={"recall": {"min": 0.6}})),
        look(spec=None),
    ]
    assert [evidence_view.begin(other, known).requests_seen for other in others] == [0] * 4
    assert len({evidence_view.begin(seen, None).key for seen in [look(), *others]}) == 5
    assert evidence_view.begin(look(), Memory(key="something else")) == fresh
    assert evidence_view.begin(look(spec=None), None).key == f"{REVISION}@{at(-100)}/"


def test_what_is_new_is_added_up_over_engines() -> None:
    memory = observe(
        measured(series([0.9, 0.8])), None, measured(series([0.7], context=4), series([0.6], site=3))
    )
    assert memory.totals == {
        **{total(measure=m): of([0.9, 0.8]) for m in ("overlap", "recall")},
        **{total(context=4, measure=m): of([0.7]) for m in ("overlap", "recall")},
        **{total(site=3, measure=m): of([0.6]) for m in ("overlap", "recall")},
    }
    assert memory.data_at == at(0)
    assert memory.seen[SeriesKey("a", "life", 1, "recall", 1, 3, Mode.SHADOW)] == of([0.9, 0.8])
    again = observe(measured(series([0.9, 0.8, 0.1])), memory=memory)
    assert again.totals[total()].counts == of([0.9, 0.8, 0.1]).counts


def test_two_engines_of_one_site_add_up_and_the_two_measures_stay_apart() -> None:
    memory = observe(measured(series([0.9], overlap=[0.2])), measured(series([0.7], overlap=[0.3])))
    assert memory.totals[total()] == of([0.9, 0.7])
    assert memory.totals[total(measure="overlap")] == of([0.2, 0.3])


def test_a_steady_counter_says_nothing_new() -> None:
    memory = observe(measured(series([0.9])))
    again = observe(measured(series([0.9])), memory=replace(memory, data_at=at(-7)))
    assert (again.totals, again.data_at, again.detectors) == (memory.totals, at(-7), memory.detectors)
    both = observe(measured(series([0.9]), series([0.8], site=3)), memory=memory)
    assert both.totals[total(site=3)] == of([0.8])
    assert both.totals[total()] == of([0.9])


def test_a_counter_that_fell_counts_from_zero() -> None:
    memory = observe(measured(series([0.9, 0.9])))
    assert (
        observe(measured(series([0.1])), memory=memory).totals[total()].counts == of([0.9, 0.9, 0.1]).counts
    )


def test_another_life_and_another_series_count_from_zero() -> None:
    memory = observe(measured(series([0.9])))
    after = observe(measured(series([0.9]), incarnation="next"), memory=memory)
    assert after.totals[total()].count == 2
    assert (
        observe(measured(series([0.9])).model_copy(update={"series_number": 2}), memory=memory)
        .totals[total()]
        .count
        == 2
    )


def test_what_is_known_of_an_engine_is_kept_while_its_pod_is_there() -> None:
    memory = observe(measured(series([0.9])), measured(series([0.8])))
    silent = observe(None, memory=memory)
    assert {key.pod for key in silent.seen} == {"a"}
    assert silent.totals == memory.totals


@pytest.mark.parametrize(
    "state",
    [
        None,
        measured(series([0.9]), revision="other"),
        measured(series([0.9]), pattern="FFFS"),
        measured(series([0.9]), protected=(3,)),
        measured(series([])),
    ],
)
def test_only_what_was_measured_for_this_try_counts(state: State | None) -> None:
    memory = observe(state)
    assert (memory.totals, memory.data_at) == ({}, None)


def test_protected_indexers_are_part_of_the_try() -> None:
    asked = spec(indexCache={"pattern": "FSFS", "protected": [3]})
    assert evidence_view.speaks_of(measured(protected=(3,)), asked, REVISION)
    assert not evidence_view.speaks_of(measured(), asked, REVISION)


def bet(values: list[float], m0: float = 0.5, slot: int = SLOT, share: float = 0.5) -> Detector:
    """The first bet of a reader that has just begun."""
    return detector.resumed(of(values), m0, slot, share)


def recall_at(context: int, mode: Any = Mode.SHADOW) -> tuple[TestKey, Any]:
    return TestKey("recall", None, context), mode


def test_the_first_look_bets_once_on_all_that_the_counters_hold() -> None:
    memory = observe(
        measured(series([0.9, 0.1]), series([0.2], site=3), series([0.6], context=5, mode=Mode.ON))
    )
    assert set(memory.detectors) == {
        (TestKey("recall", None, c), m) for c in JUDGED for m in (Mode.SHADOW, Mode.ON)
    }
    assert memory.detectors[recall_at(3)] == bet([0.9, 0.1, 0.2])
    assert memory.detectors[recall_at(5, Mode.ON)] == bet([0.6])
    assert memory.detectors[recall_at(5)] == memory.detectors[recall_at(3, Mode.ON)] == bet([])


def test_later_looks_open_new_bets() -> None:
    memory = observe(measured(series([0.9])))
    earlier = replace(memory, detectors={key: replace(d, slot=90) for key, d in memory.detectors.items()})
    after = observe(measured(series([0.9, 0.1])), memory=earlier)
    assert after.detectors[recall_at(3)] == earlier.detectors[recall_at(3)].after(of([0.1]), 0.5, SLOT, 0.5)
    assert after.detectors[recall_at(4)] == earlier.detectors[recall_at(4)]


def test_each_guardrail_bets_on_its_own_measure_and_groups() -> None:
    asked = spec(guardrails=ALL)
    found = (series([0.9], overlap=[0.2]), series([0.7], site=3, overlap=[0.3]))
    memory = observe(measured(*found), spec=asked)
    assert memory.detectors[TestKey("overlap", None, 3), Mode.SHADOW] == bet([0.2, 0.3], 0.3)
    assert memory.detectors[TestKey("recall", None, 3), Mode.SHADOW] == bet([0.9, 0.7])
    assert memory.detectors[TestKey("recall_per_indexer", 1, 3), Mode.SHADOW] == bet([0.9], 0.25, share=1.0)
    assert memory.detectors[TestKey("recall_per_indexer", 3, 3), Mode.SHADOW] == bet([0.7], 0.25, share=1.0)
    assert memory.detectors[TestKey("recall_per_indexer", 3, 4), Mode.SHADOW] == bet([], 0.25, share=1.0)


def test_what_has_no_threshold_hides_no_other() -> None:
    memory = observe(measured(series([0.9])), spec=spec(guardrails={"recall": {"perIndexerMin": 0.25}}))
    assert {key.guardrail for key, _ in memory.detectors} == {"recall_per_indexer"}


def test_probes_are_taken_up_too() -> None:
    assert observe(spec=spec(guardrails=QUALITY)).quality == Histogram()
    assert observe().quality is None


GOOD, BAD = of([0.95] * 300), of([0.05] * 300)


def remembering(
    totals: dict[TotalKey, Histogram], contexts: dict[int, float] | None = None, asked: Any = None
) -> Memory:
    """A memory that holds this, with the bets of a reader that has just begun."""
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
    found = evidence_view.judge(case(look(spec=asked or spec(), status=status(phase)), memory=memory))
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


def test_the_shares_of_the_judged_traffic_are_told() -> None:
    assert evidence_view.judge(case(look(), memory=remembering({}, {1: 50, 3: 30, 4: 10}))).shares == {
        3: 0.75,
        4: 0.25,
    }


def says(*answers: tuple[Name, Verdict, bool]) -> Evidence:
    """What guardrails say, each by whether it acts."""
    asked = spec(guardrails={**ALL, **QUALITY})
    out = []
    for name, verdict, acts in answers:
        found = answer(name, verdict, {TestKey(name, None, 3): judgement(verdict)}, asked)
        out.append(replace(found, guardrail=replace(found.guardrail, acts=acts)))
    return Evidence(answers=tuple(out))


def test_a_breach_is_of_a_guardrail_that_acts() -> None:
    found = says(
        ("overlap", Verdict.BREACHED, False),
        ("recall", Verdict.HOLDING, True),
        ("quality", Verdict.BREACHED, True),
    )
    breach = found.breach()
    assert breach is not None
    assert (breach[0].guardrail.name, breach[1]) == ("quality", TestKey("quality", None, 3))
    assert says(("overlap", Verdict.BREACHED, False), ("recall", Verdict.HOLDING, True)).breach() is None


@pytest.mark.parametrize(
    ("answers", "expected", "without_quality"),
    [
        ([("recall", Verdict.CERTIFIED, True), ("quality", Verdict.CERTIFIED, True)], True, True),
        ([("recall", Verdict.CERTIFIED, True), ("quality", Verdict.HOLDING, True)], False, True),
        ([("recall", Verdict.HOLDING, True), ("quality", Verdict.CERTIFIED, True)], False, False),
        ([("recall", Verdict.CERTIFIED, True), ("overlap", Verdict.HOLDING, False)], True, True),
        ([], True, True),
    ],
)
def test_all_that_acts_must_be_certified(
    answers: list[tuple[Name, Verdict, bool]], expected: bool, without_quality: bool
) -> None:
    assert says(*answers).certified() is expected
    assert says(*answers).certified(without_quality=True) is without_quality


def test_the_decisive_test_is_the_one_that_holds_most_against_the_pattern() -> None:
    totals = {
        total(context=3, mode=ON): GOOD,
        total(context=5, mode=ON): BAD,
        total(site=3, context=5, mode=ON): GOOD,
    }
    memory = remembering(totals, asked=PER_SITE)
    row = next(g for g in guardrails(PER_SITE) if g.name == "recall_per_indexer")
    assert evidence_view.decisive(memory, row, TestKey("recall_per_indexer", 1)) == (
        TestKey("recall_per_indexer", 1, 5),
        BAD.mean,
    )
    only = TestKey("recall_per_indexer", 1, 3)
    assert evidence_view.decisive(memory, row, only) == (only, GOOD.mean)
    overall = next(g for g in guardrails(spec()) if g.name == "recall")
    found, mean = evidence_view.decisive(remembering(totals), overall, TestKey("recall", None, 5))
    assert found == TestKey("recall", None, 5)
    assert mean == pytest.approx(0.5)
    unknown = TestKey("recall", 9, 9)
    assert evidence_view.decisive(memory, row, unknown) == (unknown, None)


def test_the_slot_of_a_look_is_its_second_since_the_try_began() -> None:
    young: Status = status(revision_started_at=at(-0.5))
    assert observe(measured(series([0.9])), status=young).detectors[recall_at(3)].slot == 1
    assert observe(measured(series([0.9]))).detectors[recall_at(3)].slot == SLOT


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
    }
    assert list(found.judgements) == [TestKey("recall", None, 3), test]


def test_what_an_engine_measured_of_a_full_indexer_is_shown_and_nothing_was_bet_on_it() -> None:
    memory = remembering({total(site=2, mode=ON): GOOD}, asked=PER_SITE)
    found = judged(memory, asked=PER_SITE, name="recall_per_indexer")
    assert found.judgements[TestKey("recall_per_indexer", 2)].log_e == 0.0
    assert found.verdict is Verdict.NO_DATA

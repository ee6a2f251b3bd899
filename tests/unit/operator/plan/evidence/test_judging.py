"""Tests what each guardrail says."""

import pytest
from indexcache_core.contexts import JUDGED
from indexcache_core.contract import Mode, State, Work
from indexcache_core.evidence import detector
from indexcache_core.evidence.guardrails import STREAMS, Name
from indexcache_core.evidence.verdict import Verdict
from indexcache_core.histogram import Histogram, of
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import Phase
from indexcache_operator.plan.evidence import bets, counters, judging
from indexcache_operator.plan.facts.memory import Memory, TestKey, TotalKey
from indexcache_operator.plan.facts.probing import Probing
from indexcache_operator.plan.facts.situation import Answer

from tests.unit.operator.plan.build import QUALITY, case, granted, pod, snapshot, spec, status
from tests.unit.operator.plan.evidence.engines import judged_by, recall_at, served, total

CERTIFIED = Verdict.CERTIFIED
GOOD, BAD = of([0.95] * 300), of([0.05] * 300)
ON = Mode.ON
PER_SITE = spec(guardrails={"recall": {"perIndexerMin": 0.3}})


def remembering(totals: dict[TotalKey, Histogram], asked: Spec | None = None) -> Memory:
    """Return a memory that holds this, with the bets of a reader that has just begun; the first judged bucket
    is certified wherever anything was measured.
    """
    totals = {key._replace(context=2, work=Work.PREFILL): GOOD for key in totals} | totals
    memory = Memory(key="try", totals=totals)
    new = counters.Batches()
    for total_key, histogram in totals.items():
        new.add(total_key, histogram)
    return bets.place(asked or spec(), memory, new, 2)


def judged(
    memory: Memory,
    phase: Phase = Phase.CANARY,
    asked: Spec | None = None,
    name: str = "recall",
    traffic: State | None = None,
) -> Answer:
    """Return what one guardrail says, by default where all users prefill contexts of one bucket."""
    seen = snapshot(pod("a", traffic or served({3: 1.0})), spec=asked or spec(), status=status(phase))
    found = judging.judge(case(seen, memory=memory))
    return next(a for a in found.answers if a.guardrail.name == name)


@pytest.mark.parametrize("phase", Phase)
def test_certificates_rest_on_shadow_before_anybody_is_exposed_and_on_reuse_afterwards(phase: Phase) -> None:
    only_shadow, only_on = remembering({total(): GOOD}), remembering({total(mode=ON): GOOD})
    shadow = phase in (Phase.PENDING, Phase.CHECKING, Phase.SHADOWING)
    assert judged(only_shadow, phase).verdict is (Verdict.CERTIFIED if shadow else Verdict.NO_DATA)
    assert judged(only_on, phase).verdict is (Verdict.NO_DATA if shadow else Verdict.CERTIFIED)


@pytest.mark.parametrize(
    ("traffic", "expected"),
    [
        (served({3: 89, 4: 11}), Verdict.NO_DATA),
        (served({3: 90, 4: 10}), CERTIFIED),  # minShare
        (served({3: 50, 1: 50}), CERTIFIED),  # a bucket that is never judged
        (served({4: 100}), Verdict.NO_DATA),
        (served({3: 100}, {3: 1e-3}), Verdict.NO_DATA),
        (served({3: 100}, {1: 90, 4: 1}), CERTIFIED),
        (served({1: 100}), CERTIFIED),  # of the first judged bucket
    ],
)
def test_certificates_are_needed_of_all_lengths_up_to_where_enough_of_the_work_is(
    traffic: State, expected: Verdict
) -> None:
    assert judged(remembering({total(mode=ON): GOOD}), traffic=traffic).verdict is expected


def test_prefill_and_decode_are_certified_apart() -> None:
    both = served({3: 1.0}, {3: 1.0})
    decoding = total(mode=ON, work=Work.DECODE)
    assert judged(remembering({total(mode=ON): GOOD, decoding: GOOD}), traffic=both).verdict is CERTIFIED
    found = judged(remembering({total(mode=ON): GOOD, decoding: of([0.6] * 4)}), traffic=both)
    assert found.verdict is Verdict.HOLDING
    at_three = {test: j for test, j in found.judgements.items() if test.context == 3}
    assert {test.work: j.verdict for test, j in at_three.items()} == {
        Work.PREFILL: CERTIFIED,
        Work.DECODE: Verdict.HOLDING,
    }


def test_what_is_not_needed_is_shown_and_decides_nothing() -> None:
    little = of([0.95])
    totals = {
        total(mode=ON): GOOD,
        total(context=4, mode=ON): little,
        total(context=1, mode=ON): little,
    }
    found = judged(remembering(totals))
    assert found.verdict is CERTIFIED
    assert {key: j.verdict for key, j in found.judgements.items()} == {
        judged_by(context=2): CERTIFIED,
        judged_by(context=3): CERTIFIED,
        judged_by(context=4): Verdict.HOLDING,
    }


def test_a_mean_over_the_indexers_is_what_engines_say_it_is_and_of_its_own_measure() -> None:
    totals = {
        total(mode=ON): GOOD,
        total(site=1, mode=ON): BAD,
        total(measure="overlap", mode=ON): BAD,
    }
    j = judged(remembering(totals)).judgements[judged_by()]
    assert (j.histogram, j.threshold) == (GOOD, 0.5)
    assert j.beta == pytest.approx(0.05 / len(JUDGED))
    asked = spec(confidence={"badPromotion": 0.14})
    j = judged(remembering(totals), asked=asked).judgements[judged_by()]
    assert j.beta == pytest.approx(0.02)


def test_each_indexer_wants_a_certificate_in_each_bucket() -> None:
    totals = {total(1, 3, mode=ON): GOOD, total(1, 4, mode=ON): GOOD, total(3, 3, mode=ON): GOOD}
    two = served({3: 1.0, 4: 1.0})
    found = judged(remembering(totals, PER_SITE), asked=PER_SITE, name="recall_per_indexer", traffic=two)
    assert found.verdict is Verdict.NO_DATA
    above = {test: j for test, j in found.judgements.items() if test.context != 2}
    assert {(test.site, test.context): j.verdict for test, j in above.items()} == {
        (1, 3): CERTIFIED,
        (1, 4): CERTIFIED,
        (3, 3): CERTIFIED,
        (3, 4): Verdict.NO_DATA,
    }
    whole = remembering({**totals, total(3, 4, mode=ON): GOOD}, PER_SITE)
    assert judged(whole, asked=PER_SITE, name="recall_per_indexer", traffic=two).verdict is CERTIFIED


def test_ruined_long_contexts_are_not_made_up_for_by_short_ones() -> None:
    between = {total(site, bucket, mode=ON): GOOD for site in (1, 3) for bucket in (3, 4, 5, 6)}
    totals = {**between, total(1, 7, mode=ON): of([0.29] * 9)}
    found = judged(
        remembering({**totals, total(3, 7, mode=ON): GOOD}, PER_SITE),
        asked=PER_SITE,
        name="recall_per_indexer",
        traffic=served({3: 89.0, 7: 11.0}),
    )
    assert found.verdict is Verdict.HOLDING


@pytest.mark.parametrize("where", [total(mode=ON), total(context=8, mode=ON), total(mode=Mode.SHADOW)])
@pytest.mark.parametrize(
    ("site", "asked", "name"), [(None, spec(), "recall"), (1, PER_SITE, "recall_per_indexer")]
)
def test_a_breach_counts_wherever_it_is(where: TotalKey, site: int | None, asked: Spec, name: Name) -> None:
    memory = remembering({where._replace(site=site): BAD}, asked)
    found = judged(memory, asked=asked, name=name)
    assert found.verdict is Verdict.BREACHED
    test = judged_by(name, site, where.context)
    bets_of = [memory.detectors[test, stream] for stream in STREAMS]
    assert found.judgements[test].log_e == pytest.approx(detector.log_e(bets_of))
    assert [t for t, j in found.judgements.items() if j.verdict is Verdict.BREACHED] == [test]


def test_where_each_stream_is_bet_on_half_and_half() -> None:
    memory = remembering({total(mode=ON): of([0.1] * 9), total(): of([0.9] * 9)})
    j = judged(memory).judgements[judged_by()]
    assert j.log_e == pytest.approx(
        detector.log_e([memory.detectors[recall_at(3)], memory.detectors[recall_at(3, ON)]])
    )


def test_what_only_observes_shows_its_figures_and_never_acts() -> None:
    asked = spec(guardrails={"recall": {"min": 0.5, "observeOnly": True}, "overlap": {"min": 0.3}})
    found = judged(remembering({total(mode=ON): BAD}, asked), asked=asked)
    said = [j.verdict for j in found.judgements.values()]
    assert (found.verdict, said) == (Verdict.OBSERVING, [Verdict.OBSERVING] * 2)
    for traffic in (served({4: 1.0}), served({})):
        assert judged(remembering({}, asked), asked=asked, traffic=traffic).verdict is Verdict.OBSERVING
        assert judged(Memory(key="try"), traffic=traffic).verdict is Verdict.NO_DATA


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


def test_it_is_told_where_the_judged_traffic_is_and_whose_certificates_are_needed() -> None:
    state = served({1: 50, 3: 30, 4: 20}, {3: 30, 4: 1})
    found = judging.judge(case(snapshot(pod("a", state))))
    assert found.judged == 50
    assert found.wanted == {
        (2, Work.PREFILL),
        (3, Work.PREFILL),
        (3, Work.DECODE),
        (4, Work.PREFILL),
        (4, Work.DECODE),
    }


def test_once_all_pods_are_under_reuse_nothing_is_needed_beyond_their_reach() -> None:
    kept = status(Phase.PROMOTED, reach=granted(128))
    found = judging.judge(case(snapshot(pod("a", served({5: 1.0})), status=kept)))
    assert found.wanted == {(2, Work.PREFILL), (3, Work.PREFILL)}


def test_a_breach_beyond_what_is_exposed_is_shown_and_decides_nothing() -> None:
    memory = remembering({total(mode=ON): GOOD, total(context=5): BAD})
    for tokens, expected in ((128, CERTIFIED), (512, Verdict.BREACHED)):
        seen = snapshot(pod("a", served({3: 1.0})), status=status(reach=granted(tokens)))
        found = judging.judge(case(seen, memory=memory)).answers[1]
        assert found.judgements[judged_by(context=5)].verdict is Verdict.BREACHED
        assert found.verdict is expected


def test_a_breach_of_shadow_counts_where_nothing_is_asked_of_reuse() -> None:
    """A context without traffic and without measurements under reuse: no certificate is asked for."""
    memory = remembering({total(context=8): BAD, total(mode=ON): GOOD})
    found = judged(memory)
    test = judged_by(context=8)
    bets_of = [memory.detectors[test, stream] for stream in STREAMS]
    assert found.verdict is Verdict.BREACHED
    assert list(found.judgements) == [judged_by(context=2), judged_by(), test]
    assert found.judgements[test].histogram == Histogram()
    assert found.judgements[test].log_e == detector.log_e(bets_of)


def test_what_an_engine_measured_of_a_full_indexer_is_no_test() -> None:
    memory = remembering({total(site=2, mode=ON): GOOD}, PER_SITE)
    found = judged(memory, asked=PER_SITE, name="recall_per_indexer")
    assert {test.site for test in found.judgements} == {1, 3}
    assert found.verdict is Verdict.NO_DATA


@pytest.mark.parametrize("unguarded", [False, True])
def test_whether_users_may_be_exposed_without_evidence_is_the_specs_word(unguarded: bool) -> None:
    asked = spec(guardrails={"unguarded": unguarded})
    found = judging.judge(case(snapshot(pod(), spec=asked), memory=Memory(key="try")))
    assert (found.acting, found.unguarded) == ((), unguarded)

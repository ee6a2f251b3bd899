"""Properties of bets, certificates, detectors and verdicts that hold for all data."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indexcache_core.evidence import betting, certificate, detector, quality, verdict
from indexcache_core.evidence.verdict import Verdict
from indexcache_core.histogram import Histogram, of, upper

values = st.lists(st.floats(0, 1), max_size=40)
some = st.lists(st.floats(0, 1), min_size=1, max_size=40)
thresholds = st.floats(0.02, 0.98)


@given(values, values, thresholds)
def test_wealth_depends_on_the_histogram_alone(a: list[float], b: list[float], m: float) -> None:
    whole = betting.log_wealth(of(a).plus(of(b)).counts, m)
    parts = zip(betting.log_wealth(of(a).counts, m), betting.log_wealth(of(b).counts, m), strict=True)
    assert whole == pytest.approx(tuple(x + y for x, y in parts), abs=1e-9)


@given(some, thresholds)
def test_buckets_only_lower_the_wealth(xs: list[float], m: float) -> None:
    exact = [sum(math.log1p(c * (x / m - 1)) for x in xs) for c in betting.FRACTIONS]
    assert all(w <= e + 1e-9 for w, e in zip(betting.log_wealth(of(xs).counts, m), exact, strict=True))


@given(some, thresholds)
def test_the_bet_against_a_pattern_uses_upper_bounds(xs: list[float], m0: float) -> None:
    wealth = betting.log_wealth(betting.mirrored(of(xs).counts), 1 - m0)
    slow = [
        sum(n * math.log1p(c / (1 - m0) * (m0 - upper(i))) for i, n in enumerate(of(xs).counts) if n)
        for c in betting.FRACTIONS
    ]
    assert wealth == pytest.approx(slow, abs=1e-9)


def test_the_purse_is_never_overspent() -> None:
    assert math.exp(detector.log_purse(1, 10**9)) <= 1.0
    spent = (
        math.exp(detector.log_purse(1, 1))
        + math.exp(detector.log_purse(2, 7))
        + math.exp(detector.log_purse(8, 1000))
    )
    assert spent == pytest.approx(math.exp(detector.log_purse(1, 1000)))
    assert detector.log_purse(5, 4) == -math.inf


@given(st.lists(st.tuples(values, st.integers(0, 3)), max_size=12), st.integers(0, 12), thresholds)
def test_a_reader_that_lost_its_memory_never_holds_more_than_one_that_did_not(
    looks: list[tuple[list[float], int]], crash: int, m0: float
) -> None:
    """The argument in detector.py that one bound covers all lives, checked look by look."""
    kept, slot, total = detector.fresh(), 1, Histogram()
    lost = detector.fresh()
    for i, (xs, seconds) in enumerate(looks):
        slot += seconds
        total = total.plus(of(xs))
        kept = kept.after(of(xs), m0, slot)
        lost = detector.resumed(total, m0, slot) if i == crash else lost.after(of(xs), m0, slot)
        assert all(a <= b + 1e-9 for a, b in zip(lost.log_s, kept.log_s, strict=True))


def test_a_look_without_data_opens_no_bet() -> None:
    d = detector.fresh()
    assert d.after(Histogram(), 0.5, 1000) is d


@given(some, thresholds, st.sampled_from([0.01, 0.05]))
@settings(max_examples=50)
def test_the_lower_bound_inverts_the_certificate(xs: list[float], m: float, beta: float) -> None:
    bound = certificate.lower_bound(of(xs), beta)
    assert bound is not None
    if m < bound - 1e-3:
        assert certificate.certified(of(xs), m, beta)
    if m > bound + 1e-3:
        assert not certificate.certified(of(xs), m, beta)


@given(some, thresholds)
def test_needed_is_zero_exactly_when_certified(xs: list[float], m: float) -> None:
    assert (certificate.still_needed(of(xs), m, 0.05) == 0) == certificate.certified(of(xs), m, 0.05)


def test_needed_is_unknown_where_more_of_the_same_never_helps() -> None:
    assert certificate.still_needed(of([0.2] * 50), 0.5, 0.05) is None
    assert certificate.still_needed(Histogram(), 0.5, 0.05) is None
    assert certificate.lower_bound(Histogram(), 0.05) is None


@pytest.mark.parametrize("m", [0.0, 1.0, -0.1, math.nan])
def test_a_threshold_outside_the_open_interval_is_refused(m: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        betting.log_factors(m)


def judged(
    xs: list[float], *, log_e: float = 0.0, threshold: float | None = 0.5, acts: bool = True
) -> Verdict:
    return verdict.judge(of(xs), threshold, log_e=log_e, alpha=0.01, beta=0.05, acts=acts).verdict


def test_each_verdict() -> None:
    assert judged([]) is Verdict.NO_DATA
    assert judged([0.9] * 3) is Verdict.HOLDING
    assert judged([0.9] * 100) is Verdict.CERTIFIED
    assert judged([0.9] * 100, log_e=math.log(101)) is Verdict.BREACHED
    assert judged([0.1] * 100, log_e=99.0, acts=False) is Verdict.OBSERVING
    assert judged([0.1] * 100, log_e=99.0, threshold=None) is Verdict.OBSERVING


def test_the_worst_verdict_decides_and_nothing_is_never_certified() -> None:
    assert verdict.worst([Verdict.CERTIFIED, Verdict.NO_DATA, Verdict.HOLDING]) is Verdict.NO_DATA
    assert verdict.worst([Verdict.CERTIFIED, Verdict.OBSERVING]) is Verdict.CERTIFIED
    assert verdict.worst([Verdict.CERTIFIED, Verdict.BREACHED]) is Verdict.BREACHED
    assert verdict.worst([]) is Verdict.OBSERVING


def test_quality_maps_the_tolerance_to_its_threshold() -> None:
    assert quality.value(0.02, 0.02) == pytest.approx(quality.THRESHOLD)
    assert quality.value(0.0, 0.02) == pytest.approx(0.5)
    assert quality.value(99.0, 0.02) == 0.0
    assert quality.value(-99.0, 0.02) == 1.0
    assert quality.value(math.nan, 0.02) == 0.0
    assert quality.drop(quality.value(0.013, 0.02), 0.02) == pytest.approx(0.013)

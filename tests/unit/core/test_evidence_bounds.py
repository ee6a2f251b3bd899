"""The stated error bounds, by simulation at the edge of each null, and the power that the bounds leave.
Seeded: no run differs.
"""

import math

import numpy as np
import pytest
from indexcache_core.evidence import betting, certificate, detector
from indexcache_core.histogram import BUCKETS, Histogram

RUNS = 400
# Three standard errors of a share of 400 runs at 0.01 and 0.05.
TOLERANCE = {0.01: 0.015, 0.05: 0.033}


def histogram(values: np.ndarray) -> Histogram:
    index = np.minimum((values * BUCKETS).astype(int), BUCKETS - 1)
    return Histogram(
        counts=tuple(int(n) for n in np.bincount(index, minlength=BUCKETS)), sum=float(values.sum())
    )


@pytest.mark.parametrize(("m0", "alpha"), [(0.9, 0.01), (0.36, 0.01), (0.6, 0.05)])
def test_a_healthy_pattern_is_rolled_back_no_more_often_than_alpha(m0: float, alpha: float) -> None:
    rng = np.random.default_rng(4)
    breaches = 0
    for _ in range(RUNS):
        d = detector.fresh()
        for look in range(1, 61):
            # Of the upper bounds that a bucket is replaced by, 1.0 and 0.02, the mean is exactly m0.
            ones = rng.random(10) < (m0 - 0.02) / 0.98
            d = d.after(histogram(np.where(ones, 0.999, 0.0)), m0, look)
            if d.log_e >= -math.log(alpha):
                breaches += 1
                break
    assert breaches / RUNS <= alpha + TOLERANCE[alpha]


@pytest.mark.parametrize(("m", "beta"), [(0.9, 0.05), (0.36, 0.05), (0.5, 0.01)])
def test_a_bad_pattern_is_certified_no_more_often_than_beta(m: float, beta: float) -> None:
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(RUNS):
        total = Histogram()
        for _look in range(60):
            # Of the lower bounds, 0.98 and 0, the mean is exactly m.
            total = total.plus(histogram(np.where(rng.random(10) < m / 0.98, 0.999, 0.0)))
            if certificate.certified(total, m, beta):
                wrong += 1
                break
    assert wrong / RUNS <= beta + TOLERANCE[beta]


def test_steps_of_one_request_are_not_independent_observations() -> None:
    """Requests of four hundred steps, between which most of the spread lies: where each step is taken as an
    observation, a healthy pattern is rolled back; where each request is, the bound holds.
    """
    rng = np.random.default_rng(6)
    steps, m0, alpha = 400, 0.36, 0.01
    breaches = {"step": 0, "request": 0}
    for _ in range(RUNS // 4):
        requests = rng.normal(0.46, 0.10, 100).clip(0, 1)
        for unit, each in (("step", np.repeat(requests, steps)), ("request", requests)):
            d = detector.fresh()
            for look, values in enumerate(np.split(each, 25), 1):
                d = d.after(histogram(values), m0, look)
                if d.log_e >= -math.log(alpha):
                    breaches[unit] += 1
                    break
    assert breaches["request"] == 0
    assert breaches["step"] > RUNS // 40


@pytest.mark.parametrize(("after", "within"), [(0.80, 60), (0.50, 25)])
def test_a_change_after_five_thousand_good_observations_is_found(after: float, within: int) -> None:
    rng = np.random.default_rng(7)
    m0, alpha, found = 0.9, 0.01, []
    for _ in range(30):
        d = detector.fresh()
        for look in range(1, 501):
            d = d.after(histogram(rng.beta(95, 5, 10)), m0, look)
            assert d.log_e < -math.log(alpha)
        n = 0
        while d.log_e < -math.log(alpha):
            d = d.after(histogram(rng.beta(after * 20, (1 - after) * 20, 1)), m0, 501 + n // 10)
            n += 1
        found.append(n)
    assert float(np.median(found)) <= within


def test_a_collapse_is_found_at_once() -> None:
    rng = np.random.default_rng(8)
    d, n = detector.fresh(), 0
    while d.log_e < math.log(100):
        d = d.after(histogram(rng.beta(5, 5, 1)), 0.95, 1)
        n += 1
    assert n <= 12


def test_a_good_pattern_is_certified_soon() -> None:
    rng = np.random.default_rng(9)
    needed = [
        next(n for n in range(10, 5000, 10) if certificate.certified(histogram(values[:n]), 0.36, 0.05))
        for values in (rng.beta(6, 4, 5000) for _ in range(50))
    ]
    assert float(np.median(needed)) <= 40


def test_the_estimate_of_what_is_still_needed_is_about_right() -> None:
    rng = np.random.default_rng(10)
    values = rng.beta(6, 4, 20_000)
    have = 20
    estimate = certificate.still_needed(histogram(values[:have]), 0.5, 0.05)
    really = (
        next(n for n in range(have, 20_000) if certificate.certified(histogram(values[:n]), 0.5, 0.05)) - have
    )
    assert estimate is not None
    assert really / 4 <= estimate <= really * 4


def test_the_lower_bound_holds_in_all_looks_at_once() -> None:
    rng = np.random.default_rng(11)
    beta, wrong = 0.05, 0
    for _ in range(100):
        values = rng.beta(8, 2, 400)
        bounds = [certificate.lower_bound(histogram(values[:n]), beta) for n in range(20, 401, 40)]
        wrong += any(b is not None and b > 0.8 for b in bounds)
    assert wrong / 100 <= beta


def test_no_observation_costs_all_of_a_bet() -> None:
    for m in (0.01, 0.36, 0.5, 0.99):
        for row in betting.log_factors(m):
            assert min(row) >= math.log(0.05) - 1e-12

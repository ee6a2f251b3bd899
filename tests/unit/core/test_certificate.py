"""The certificate, at the observation at which it is given."""

import math

import pytest
from indexcache_core.evidence import betting, certificate
from indexcache_core.histogram import Histogram, of


def good(n: int) -> Histogram:
    return of([0.9] * n)


def test_the_certificates_wealth_is_the_mean_over_its_bets() -> None:
    wealth = [math.exp(w) for w in betting.log_wealth(good(20).counts, 0.5)]
    found = math.exp(certificate.log_certificate(good(20), 0.5))
    assert found == pytest.approx(sum(wealth) / len(wealth))
    assert certificate.log_certificate(Histogram(), 0.5) == 0.0


def test_it_is_given_when_the_wealth_reaches_the_bound() -> None:
    reached = math.exp(-certificate.log_certificate(good(12), 0.5))
    assert certificate.certified(good(12), 0.5, reached * (1 + 1e-9))
    assert not certificate.certified(good(12), 0.5, reached * (1 - 1e-9))
    assert not certificate.certified(Histogram(), 0.5, 0.99)
    assert certificate.certified(Histogram(), 0.5, 1.0)


@pytest.mark.parametrize("have", [1, 3, 7])
def test_what_is_still_needed_is_enough_and_not_much_more(have: int) -> None:
    needed = certificate.still_needed(good(have), 0.5, 0.001)
    assert needed is not None
    assert needed > 0
    assert certificate.certified(good(have + needed), 0.5, 0.001)
    assert not certificate.certified(good(have + needed - 2), 0.5, 0.001)


@pytest.mark.parametrize(("value", "have", "beta"), [(0.6, 3, 0.05), (0.6, 10, 0.001), (0.55, 70, 0.001)])
def test_what_is_still_needed_is_told_to_the_observation(value: float, have: int, beta: float) -> None:
    more = next(n for n in range(1, 200) if certificate.certified(of([value] * (have + n)), 0.5, beta))
    assert certificate.still_needed(of([value] * have), 0.5, beta) == more


def test_what_needs_nothing_and_what_never_gets_there() -> None:
    assert certificate.still_needed(good(200), 0.5, 0.05) == 0
    assert certificate.still_needed(Histogram(), 0.5, 0.05) is None
    assert certificate.still_needed(of([0.5] * 9), 0.5, 0.05) is None
    assert certificate.still_needed(of([0.2] * 9), 0.5, 0.05) is None


def test_one_observation_is_the_least_that_is_needed() -> None:
    n = next(n for n in range(1, 100) if certificate.certified(good(n), 0.5, 0.05))
    assert certificate.still_needed(good(n - 1), 0.5, 0.05) == 1


def test_the_lower_bound_is_the_largest_mean_refuted() -> None:
    bound = certificate.lower_bound(good(60), 0.05)
    assert bound is not None
    assert certificate.certified(good(60), bound, 0.05)
    assert not certificate.certified(good(60), bound + 2e-4, 0.05)
    assert certificate.lower_bound(Histogram(), 0.05) is None
    assert certificate.lower_bound(of([0.0]), 0.05) == 0.0
    certain = certificate.lower_bound(of([1.0] * 10**6), 0.05)
    assert certain is not None
    assert certain > 0.9

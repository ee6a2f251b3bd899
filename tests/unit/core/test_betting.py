"""The wealth of bets, by figures that are worked out by hand."""

import math

import pytest
from indexcache_core.evidence import betting
from indexcache_core.evidence.betting import FRACTIONS
from indexcache_core.histogram import BUCKETS, lower, of


def test_a_factor_is_one_less_the_stake_plus_what_it_wins() -> None:
    rows = betting.log_factors(0.25)
    assert len(rows) == len(FRACTIONS)
    for c, row in zip(FRACTIONS, rows, strict=True):
        assert row == pytest.approx([math.log(1 - c + c * lower(i) / 0.25) for i in range(BUCKETS)])


@pytest.mark.parametrize("m", [0.0, 1.0, -0.1, 1.1, math.nan])
def test_a_threshold_outside_the_open_interval_is_refused(m: float) -> None:
    with pytest.raises(ValueError, match="not a threshold"):
        betting.log_factors(m)


def test_the_wealth_is_the_product_over_observations() -> None:
    for c, wealth in zip(FRACTIONS, betting.log_wealth(of([0.5, 0.5, 0.1]).counts, 0.25), strict=True):
        assert wealth == pytest.approx(2 * math.log(1 + c) + math.log(1 - c * 0.6))
    assert betting.log_wealth(of([]).counts, 0.25) == (0.0,) * len(FRACTIONS)


def test_counts_are_mirrored() -> None:
    assert betting.mirrored(of([0.0, 0.99, 0.99]).counts) == of([0.99, 0.0, 0.0]).counts


@pytest.mark.parametrize(
    ("logs", "expected"),
    [
        ([0.0, 0.0], 0.0),
        ([math.log(1), math.log(3)], math.log(2)),
        ([1000.0, 1000.0], 1000.0),
        ([-math.inf, -math.inf], -math.inf),
    ],
)
def test_the_mean_of_exponentials(logs: list[float], expected: float) -> None:
    assert betting.log_mean_exp(logs) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (math.log(2), math.log(3), math.log(5)),
        (math.log(3), math.log(2), math.log(5)),
        (-math.inf, 1.5, 1.5),
        (1.5, -math.inf, 1.5),
        (-math.inf, -math.inf, -math.inf),
        (900.0, 900.0, 900.0 + math.log(2)),
    ],
)
def test_the_sum_of_exponentials(a: float, b: float, expected: float) -> None:
    assert betting.log_add(a, b) == pytest.approx(expected)

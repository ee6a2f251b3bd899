"""Tests whether measuring goes on, by counts: how long windows are, and how often a healthy engine is taken
for one that has stopped.
"""

import math
import random

import pytest
from indexcache_core.evidence.freshness import MEASURED_SHARE, requests_until
from indexcache_core.evidence.traffic import DELTA


def test_all_windows_together_err_with_a_chance_of_delta_at_most() -> None:
    chances = [(1 - MEASURED_SHARE) ** requests_until(number) for number in range(1, 20_000)]
    assert sum(chances) <= DELTA
    assert sum(chances) > 0.9 * DELTA


def test_later_windows_are_longer_but_little() -> None:
    assert [requests_until(n) for n in (1, 2, 10, 100, 1000)] == [1517, 1736, 2316, 3218, 4135]
    assert requests_until(1, delta=0.1) < requests_until(1)


def healthy(rng: random.Random, share: float, requests: int, every: float) -> bool:
    """Return whether an engine that measures each request with this chance is told to have stopped, within so
    many requests, of which so many come from one look to the next.
    """
    number, came, left = 1, 0.0, float(requests)
    until_next: float = _gap(rng, share)
    while left > 0:
        came, left = came + every, left - every
        if came < requests_until(number):
            continue
        if until_next > came:
            return True
        while until_next <= came:
            until_next += _gap(rng, share)
        until_next, came, number = until_next - came, 0.0, number + 1
    return False


def _gap(rng: random.Random, share: float) -> int:
    """Return the number of requests up to the next one that is measured."""
    return 1 + int(math.log(1 - rng.random()) / math.log1p(-share))


@pytest.mark.simulation
@pytest.mark.parametrize("per_minute", [1, 10, 120])
def test_a_healthy_engine_is_hardly_ever_told_to_have_stopped(per_minute: float) -> None:
    """Each request measured with a chance of the budget's share, looks 40 s apart, 100,000 requests: at most
    DELTA of all engines.
    """
    rng, looks = random.Random(per_minute), max(per_minute * 40 / 60, 1.0)
    wrong = sum(healthy(rng, MEASURED_SHARE, 100_000, looks) for _ in range(60))
    assert wrong <= 1


@pytest.mark.simulation
def test_one_that_measures_far_less_than_its_budget_is_told() -> None:
    rng = random.Random(3)
    assert sum(healthy(rng, MEASURED_SHARE / 20, 100_000, 10.0) for _ in range(50)) == 50

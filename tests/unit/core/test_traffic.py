"""Shares of traffic by the engines' counters: what is told, what isn't, and how often wrongly."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indexcache_core.evidence import traffic
from indexcache_core.evidence.traffic import Reached


def test_without_requests_nothing_is_known() -> None:
    assert traffic.judge(0, 0, old=0.05, new=0.25) is Reached.UNKNOWN
    assert traffic.judge(0, 0, old=0.25, new=0.0) is Reached.UNKNOWN


def test_a_gateway_that_did_not_move_is_not_believed() -> None:
    """Half the requests still reach the canary, whatever the status says (the gateway cut off from its proxies)."""
    assert traffic.judge(50, 100, old=0.5, new=0.0) is Reached.NO
    assert traffic.judge(5, 100, old=0.05, new=0.5) is Reached.NO
    assert traffic.judge(1, 1, old=0.5, new=0.0) is Reached.NO


def test_zero_takes_as_many_requests_as_the_old_share_wants() -> None:
    assert traffic.judge(0, 9, old=0.5, new=0.0) is Reached.UNKNOWN
    assert traffic.judge(0, 10, old=0.5, new=0.0) is Reached.YES
    assert traffic.judge(0, 100, old=0.05, new=0.0) is Reached.UNKNOWN
    assert traffic.judge(0, 140, old=0.05, new=0.0) is Reached.YES


def test_the_new_weight() -> None:
    assert traffic.judge(25, 100, old=0.05, new=0.25) is Reached.YES
    assert traffic.judge(1, 4, old=0.05, new=0.25) is Reached.UNKNOWN
    assert traffic.judge(1, 20, old=0.0, new=0.05) is Reached.YES
    assert traffic.judge(0, 20, old=0.0, new=0.05) is Reached.UNKNOWN
    assert traffic.judge(500, 1000, old=0.25, new=0.5) is Reached.YES
    assert traffic.judge(100, 1000, old=0.5, new=0.1) is Reached.YES


@pytest.mark.parametrize(("old", "new"), [(0.05, 0.25), (0.25, 0.5), (0.5, 0.1), (0.5, 0.0)])
def test_the_old_share_is_rarely_taken_for_the_new(old: float, new: float) -> None:
    rng = random.Random(12)
    wrong = sum(
        traffic.judge(sum(rng.random() < old for _ in range(n)), n, old=old, new=new) is Reached.YES
        for n in (20, 60, 200)
        for _ in range(400)
    )
    assert wrong / 1200 <= 0.004


@pytest.mark.parametrize(("old", "new"), [(0.05, 0.25), (0.25, 0.5), (0.5, 0.1), (0.05, 0.0)])
def test_the_old_share_is_rarely_taken_for_the_new_however_often_one_looks(old: float, new: float) -> None:
    """A look after each request, and a new count after each NO, as the operator does it: wrong in at most DELTA of all runs."""
    rng = random.Random(14)
    wrong = 0
    for _ in range(30):
        canary = total = 0
        number = 1
        for _ in range(1000):
            canary, total = canary + (rng.random() < old), total + 1
            reached = traffic.judge(canary, total, old=old, new=new, delta=traffic.spent(number))
            if reached is Reached.NO:
                canary, total, number = 0, 0, number + 1
            wrong += reached is Reached.YES
    assert wrong == 0


@pytest.mark.parametrize(("old", "new"), [(0.05, 0.25), (0.25, 0.5), (0.0, 0.05), (0.5, 0.0)])
def test_the_new_share_is_seen_with_enough_requests(old: float, new: float) -> None:
    rng = random.Random(13)
    n = 2 * traffic.requests_needed(old, new) + 20
    seen = sum(traffic.judge(sum(rng.random() < new for _ in range(n)), n, old=old, new=new) is Reached.YES for _ in range(200))
    assert seen >= 190


@given(st.integers(0, 1500), st.integers(1, 1500), st.floats(0.001, 0.999))
@settings(max_examples=200)
def test_tails_are_probabilities_and_complement(k: int, n: int, p: float) -> None:
    below, above = traffic.at_most(k, n, p), traffic.at_least(k + 1, n, p)
    assert 0.0 <= below <= 1.0
    assert below + above == pytest.approx(1.0, abs=1e-6) if n <= traffic.EXACT_UP_TO else below + above >= 1.0 - 1e-9

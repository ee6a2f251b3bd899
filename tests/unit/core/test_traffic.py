"""Shares of traffic by the engines' counters: what is told, what isn't, and how often wrongly."""

import math
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
    """Half the requests still reach the canary, whatever the status says (the gateway cut off from its
    proxies).
    """
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


@pytest.mark.simulation
@pytest.mark.parametrize(("old", "new"), [(0.05, 0.25), (0.25, 0.5), (0.5, 0.1), (0.5, 0.0)])
def test_the_old_share_is_rarely_taken_for_the_new(old: float, new: float) -> None:
    rng = random.Random(12)
    wrong = sum(
        traffic.judge(sum(rng.random() < old for _ in range(n)), n, old=old, new=new) is Reached.YES
        for n in (20, 60, 200)
        for _ in range(400)
    )
    assert wrong / 1200 <= 0.004


@pytest.mark.simulation
@pytest.mark.parametrize(("old", "new"), [(0.05, 0.25), (0.25, 0.5), (0.5, 0.1), (0.05, 0.0)])
def test_the_old_share_is_rarely_taken_for_the_new_however_often_one_looks(old: float, new: float) -> None:
    """A look after each request, and a new count after each NO, as the operator does it: wrong in at most
    DELTA of all runs.
    """
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


@pytest.mark.simulation
@pytest.mark.parametrize(("old", "new"), [(0.05, 0.25), (0.25, 0.5), (0.0, 0.05), (0.5, 0.0)])
def test_the_new_share_is_seen_with_enough_requests(old: float, new: float) -> None:
    rng = random.Random(13)
    n = 2 * traffic.requests_needed(old, new) + 20
    seen = sum(
        traffic.judge(sum(rng.random() < new for _ in range(n)), n, old=old, new=new) is Reached.YES
        for _ in range(200)
    )
    assert seen >= 190


@given(st.integers(0, 1500), st.integers(1, 1500), st.floats(0.001, 0.999))
@settings(max_examples=200)
def test_tails_are_probabilities_and_complement(k: int, n: int, p: float) -> None:
    below, above = traffic.at_most(k, n, p), traffic.at_least(k + 1, n, p)
    assert 0.0 <= below <= 1.0
    assert (
        below + above == pytest.approx(1.0, abs=1e-6)
        if n <= traffic.EXACT_UP_TO
        else below + above >= 1.0 - 1e-9
    )


# -------------------------------------------------------------------------------------- by figures


@pytest.mark.parametrize(
    ("k", "n", "p", "expected"),
    [
        (0, 2, 0.5, 0.25),
        (1, 2, 0.5, 0.75),
        (2, 2, 0.5, 1.0),
        (3, 2, 0.5, 1.0),
        (-1, 2, 0.5, 0.0),
        (1, 3, 0.25, 27 / 32),
        (0, 5, 0.0, 1.0),
        (4, 5, 1.0, 0.0),
        (5, 5, 1.0, 1.0),
        (0, 0, 0.5, 1.0),
    ],
)
def test_the_lower_tail(k: int, n: int, p: float, expected: float) -> None:
    assert traffic.at_most(k, n, p) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("k", "n", "p", "expected"),
    [(2, 2, 0.5, 0.25), (0, 2, 0.5, 1.0), (1, 3, 0.25, 37 / 64), (3, 2, 0.5, 0.0)],
)
def test_the_upper_tail(k: int, n: int, p: float, expected: float) -> None:
    assert traffic.at_least(k, n, p) == pytest.approx(expected)


def test_beyond_so_many_requests_the_tail_is_chernoffs_bound() -> None:
    n = traffic.EXACT_UP_TO
    exact = traffic.at_most(n // 4, n, 0.5)
    bound = traffic.at_most((n + 1) // 4, n + 1, 0.5)
    assert exact < bound < 1e-50
    q, m = 500 / 2000, 2000
    divergence = q * math.log(q / 0.5) + (1 - q) * math.log((1 - q) / 0.5)
    assert traffic.at_most(500, m, 0.5) == pytest.approx(math.exp(-m * divergence))
    assert traffic.at_most(0, 2000, 0.01) == pytest.approx(0.99**2000)
    assert traffic.at_most(1000, m, 0.5) == traffic.at_most(1500, m, 0.5) == 1.0
    assert traffic.at_most(999, m, 0.5) < 1.0


@pytest.mark.parametrize(
    ("canary", "expected"),
    [(50, True), (34, True), (33, False), (66, True), (67, False), (0, False), (100, False)],
)
def test_a_share_is_consistent_within_its_tails(canary: int, expected: bool) -> None:
    assert traffic.consistent(canary, 100, 0.5) is expected


def test_consistency_is_at_a_level() -> None:
    assert traffic.consistent(0, 3, 0.5, delta=0.2)
    assert not traffic.consistent(0, 3, 0.5, delta=0.3)
    assert traffic.consistent(3, 3, 0.5, delta=0.2)
    assert not traffic.consistent(3, 3, 0.5, delta=0.3)


def test_what_all_counts_spend_is_delta() -> None:
    assert traffic.spent(1) == pytest.approx(traffic.DELTA / 2)
    assert traffic.spent(3, 0.12) == pytest.approx(0.01)
    assert sum(traffic.spent(n, 1.0) for n in range(1, 10_000)) == pytest.approx(1.0, abs=1e-3)


def test_the_likelihood_ratio() -> None:
    assert traffic.likelihood_ratio(2, 5, old=0.25, new=0.5) == pytest.approx(
        2 * math.log(2) + 3 * math.log(2 / 3)
    )


JUDGED: list[tuple[int, int, float, float, Reached]] = [
    (1, 1, 0.0, 0.0, Reached.NO),
    (0, 1, 0.0, 0.0, Reached.YES),
    (0, 1, 0.5, 0.0, Reached.UNKNOWN),
    (1, 2, 0.0, 0.5, Reached.YES),
    (0, 1, 0.0, 0.5, Reached.UNKNOWN),
    (1, 2, 1.0, 0.5, Reached.YES),
    (2, 2, 1.0, 0.5, Reached.UNKNOWN),
    (9, 9, 1.0, 1.0, Reached.YES),
    (20, 100, 0.2, 0.2, Reached.YES),
    (29, 100, 0.2, 0.2, Reached.YES),
    (35, 100, 0.2, 0.2, Reached.YES),
    (90, 100, 0.2, 0.2, Reached.NO),
    (0, 100, 0.2, 0.2, Reached.NO),
    (100, 100, 0.5, 1.0, Reached.YES),
]


@pytest.mark.parametrize(("canary", "total", "old", "new", "expected"), JUDGED)
def test_what_is_told(canary: int, total: int, old: float, new: float, expected: Reached) -> None:
    assert traffic.judge(canary, total, old=old, new=new) is expected


def first(old: float, new: float, delta: float = traffic.DELTA, slack: float = traffic.SLACK) -> int:
    """Return after how many requests, split as the new share says, it counts as reached."""
    for n in range(1, 3000):
        if traffic.judge(round(n * new), n, old=old, new=new, delta=delta, slack=slack) is Reached.YES:
            return n
    raise AssertionError("never")


def test_the_old_share_is_refuted_at_the_edge_nearest_to_it() -> None:
    """At the likelihood ratio of the nearest share within slack, a third of the change here."""
    for old, new in ((0.2, 0.5), (0.5, 0.2)):
        edge = new - 0.1 if new > old else new + 0.1
        n = first(old, new)
        assert traffic.likelihood_ratio(round(n * new), n, old=old, new=edge) >= -math.log(traffic.DELTA)
        assert traffic.likelihood_ratio(round((n - 1) * new), n - 1, old=old, new=edge) < -math.log(
            traffic.DELTA
        )


def test_less_may_be_wrong_with_more_requests_and_a_smaller_change_has_less_slack() -> None:
    assert first(0.2, 0.5, delta=1e-6) > first(0.2, 0.5) > first(0.2, 0.5, delta=0.1)
    assert first(0.2, 0.5, slack=0.01) < first(0.2, 0.5)
    assert first(0.2, 0.5, slack=0.9) == first(0.2, 0.5)


@pytest.mark.parametrize(
    ("canary", "slack", "expected"),
    [
        (900, 0.1, Reached.YES),
        (1100, 0.1, Reached.YES),
        (700, 0.1, Reached.NO),
        (1300, 0.1, Reached.NO),
        (900, 0.0, Reached.NO),
        (770, 0.1, Reached.YES),
        (1230, 0.1, Reached.YES),
    ],
)
def test_within_slack_of_the_new_share_is_the_new_share(canary: int, slack: float, expected: Reached) -> None:
    assert traffic.judge(canary, 2000, old=0.2, new=0.5, slack=slack) is expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [(0.2, 0.2, 1), (0.0, 1.0, 1), (0.0, 0.5, 10), (0.5, 0.0, 10), (1.0, 0.0, 1)],
)
def test_how_many_requests_are_needed(old: float, new: float, expected: int) -> None:
    assert traffic.requests_needed(old, new) == expected


def test_how_many_requests_tell_two_shares_apart() -> None:
    z, spread = math.sqrt(-2 * math.log(1e-3)), math.sqrt(0.25 * 0.75) + 0.5
    assert (
        traffic.requests_needed(0.25, 0.5)
        == traffic.requests_needed(0.5, 0.25)
        == math.ceil((z * spread / 0.25) ** 2)
    )
    assert traffic.requests_needed(0.25, 0.5, 0.1) < traffic.requests_needed(0.25, 0.5)
    assert traffic.requests_needed(0.01, 0.99, 0.9) == 1

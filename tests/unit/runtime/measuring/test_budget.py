"""Tests which steps may be measured."""

import random
from collections import deque

import pytest
from indexcache_runtime.measuring.budget import AROUND, FIRST_AFTER, MEASURED_SHARE, MeasuringBudget


def run(
    budget: MeasuringBudget,
    steps: int,
    usual: float,
    price: float,
    *,
    ahead: int = 2,
    late: int = 0,
    tokens: int = 64,
) -> list[int]:
    """Run steps that a graph would replay, all with something to measure; return which of them were measured.
    So many are scheduled ahead, and the price of a measured one falls on the step that many before it.
    """
    out = []
    flying: deque[float] = deque()
    for i in range(steps):
        flying.append(usual)
        if budget.allows(tokens, tokens, reuses=True):
            budget.begin(tokens)
            out.append(i)
            flying[-1 - late] += price
        if len(flying) == ahead:
            budget.took(tokens, tokens, flying.popleft(), wanted=True, reuses=True)
    return out


def long(budget: MeasuringBudget, steps: int, usual: float, price: float, *, ahead: int = 2) -> list[int]:
    """Run steps that no graph would replay; return which of them were measured."""
    out = []
    flying: deque[bool] = deque()
    for i in range(steps):
        flying.append(budget.allows(8192, 1, reuses=True))
        if flying[-1]:
            budget.begin(8192)
            out.append(i)
        if len(flying) == ahead:
            took = usual + price * flying[0]
            budget.took(8192, 1, took, wanted=True, reuses=True)
            if flying.popleft():
                budget.charge(8192, price, took)
    return out


def test_where_measuring_is_free_every_step_is_measured() -> None:
    assert long(MeasuringBudget(), 100, 0.01, 0.0, ahead=1) == list(range(100))


@pytest.mark.parametrize(("ahead", "late"), [(1, 0), (2, 0), (2, 1)])
def test_replayed_steps_are_measured_for_a_fixed_share_of_their_time(ahead: int, late: int) -> None:
    usual, price = 0.008, 0.04
    chosen = run(MeasuringBudget(graphed_tokens=512), 20_000, usual, price, ahead=ahead, late=late)
    assert chosen[0] == FIRST_AFTER + ahead - 1  # those ahead are under way
    spent = len(chosen) * price / (20_000 * usual)
    assert 0.9 * MEASURED_SHARE < spent < 1.1 * MEASURED_SHARE


@pytest.mark.parametrize(
    ("slow", "share", "price"), [(0.02, 0.6, 0.004), (0.04, 0.7, 0.02), (0.02, 0.3, 0.01)]
)
def test_where_steps_take_one_time_or_another_the_share_is_kept(
    slow: float, share: float, price: float
) -> None:
    rng = random.Random(5)
    budget = MeasuringBudget(graphed_tokens=512)
    total = spent = 0.0
    for _ in range(60_000):
        seconds = slow if rng.random() < share else 0.008
        if budget.allows(64, 64, reuses=True):
            budget.begin(64)
            seconds += price
            spent += price
        total += seconds
        budget.took(64, 64, seconds, wanted=True, reuses=True)
    assert 0.2 * MEASURED_SHARE < spent / total < 1.1 * MEASURED_SHARE


@pytest.mark.parametrize("usual", [(0.02, 0.008), (0.008, 0.02)])
def test_where_steps_under_reuse_and_all_full_ones_take_turns_the_share_is_kept(
    usual: tuple[float, float],
) -> None:
    """Measured steps of either kind cost less than what tells the kinds apart."""
    budget, price = MeasuringBudget(graphed_tokens=512), 0.004
    total = spent = 0.0
    for i in range(60_000):
        reuses = i // 10 % 2 == 0
        seconds = usual[reuses]
        if budget.allows(64, 64, reuses=reuses):
            budget.begin(64)
            seconds += price
            spent += price
        total += seconds
        budget.took(64, 64, seconds, wanted=True, reuses=reuses)
    assert 0.8 * MEASURED_SHARE < spent / total < 1.1 * MEASURED_SHARE


def test_a_step_of_a_kind_that_is_not_known_counts_as_price() -> None:
    budget = MeasuringBudget(graphed_tokens=512)
    for _ in range(FIRST_AFTER):
        budget.took(64, 64, 0.008, wanted=True, reuses=True)
    assert not budget.allows(64, 64, reuses=False)
    budget.begin(64)
    for _ in range(AROUND):
        budget.took(64, 64, 0.008, wanted=True, reuses=False)
    for _ in range(int(AROUND / MEASURED_SHARE) - 1):
        budget.took(64, 64, 0.008, wanted=True, reuses=True)
    assert not budget.allows(64, 64, reuses=True)
    for _ in range(2):
        budget.took(64, 64, 0.008, wanted=True, reuses=True)
    assert budget.allows(64, 64, reuses=True)


def test_the_dearer_a_measured_step_the_rarer_it_is() -> None:
    cheap, dear = (run(MeasuringBudget(graphed_tokens=512), 20_000, 0.008, price) for price in (0.004, 0.04))
    assert len(cheap) > 8 * len(dear) > 8


def test_one_that_costs_nothing_is_measured_as_soon_as_that_is_known() -> None:
    chosen = run(MeasuringBudget(graphed_tokens=512), 200, 0.008, 0.0, ahead=1)
    assert chosen == list(range(FIRST_AFTER, 200, AROUND))


def test_one_without_rows_after_all_owes_nothing() -> None:
    budget = MeasuringBudget(graphed_tokens=512)
    for _ in range(FIRST_AFTER):
        budget.took(64, 64, 0.008, wanted=True, reuses=True)
    assert budget.allows(64, 64, reuses=True)
    assert budget.allows(64, 64, reuses=True)


@pytest.mark.parametrize(("usual", "price"), [(0.06, 0.004), (0.14, 0.001), (0.9, 0.004), (0.02, 0.002)])
def test_long_steps_too_are_measured_for_a_fixed_share_of_their_time(usual: float, price: float) -> None:
    chosen = long(MeasuringBudget(graphed_tokens=512), 20_000, usual, price)
    spent = len(chosen) * price / (20_000 * usual)
    assert 0.4 * MEASURED_SHARE < spent < 1.1 * MEASURED_SHARE


def test_a_step_of_few_tokens_that_is_not_replayed_is_not_measured_and_tells_nothing_of_those_that_are() -> (
    None
):
    budget = MeasuringBudget(graphed_tokens=512)
    for _ in range(FIRST_AFTER):
        budget.took(40, 1, 0.1, wanted=True, reuses=True)
        assert not budget.allows(64, 64, reuses=True)  # nothing known yet
    for _ in range(FIRST_AFTER):
        budget.took(64, 64, 0.008, wanted=True, reuses=True)
    assert not budget.allows(40, 1, reuses=True)
    assert budget.allows(64, 64, reuses=True)
    budget.begin(64)
    for _ in range(AROUND):
        budget.took(40, 1, 0.1, wanted=True, reuses=True)
        budget.took(64, 64, 0.008, wanted=True, reuses=True)
    assert budget.allows(64, 64, reuses=True)  # its price was nothing


def test_steps_that_nobody_wants_measured_pay_nothing() -> None:
    budget = MeasuringBudget(graphed_tokens=512)
    budget.begin(8192)
    budget.took(8192, 1, 0.1, wanted=True, reuses=True)
    budget.charge(8192, 0.01, 0.1)
    for _ in range(100):
        budget.took(8192, 1, 1.0, wanted=False, reuses=True)
    assert not budget.allows(8192, 1, reuses=True)
    for _ in range(2):
        budget.took(8192, 1, 1.0, wanted=True, reuses=True)
    assert budget.allows(8192, 1, reuses=True)


def replayed(tokens: int = 64) -> MeasuringBudget:
    """Return a budget that knows what replayed steps take, graphs being captured up to so many tokens."""
    budget = MeasuringBudget(graphed_tokens=tokens)
    for _ in range(FIRST_AFTER):
        budget.took(tokens, tokens, 0.01, wanted=True, reuses=True)
    return budget


@pytest.mark.parametrize("dear", range(AROUND))
def test_a_price_counts_on_whichever_of_the_watched_steps_it_falls(dear: int) -> None:
    budget = replayed()
    budget.begin(64)
    for i in range(AROUND):
        assert not budget.allows(64, 64, reuses=True)
        budget.took(64, 64, 0.01 + 0.005 * (i == dear), wanted=True, reuses=True)
    paid = 0
    while not budget.allows(64, 64, reuses=True):
        budget.took(64, 64, 0.01, wanted=True, reuses=True)
        paid += 1
    assert paid == pytest.approx(0.005 / MEASURED_SHARE / 0.01, abs=1)


def test_replayed_steps_that_nobody_wants_measured_pay_nothing() -> None:
    budget = replayed()
    budget.begin(64)
    for _ in range(AROUND):
        budget.took(64, 64, 0.011, wanted=True, reuses=True)
    for _ in range(200):
        budget.took(64, 64, 0.01, wanted=False, reuses=True)
    assert not budget.allows(64, 64, reuses=True)


def test_a_step_of_just_as_many_tokens_as_graphs_hold_is_replayed() -> None:
    budget = replayed()
    assert budget.allows(64, 64, reuses=True)
    assert not budget.allows(64, 63, reuses=True)
    budget.begin(64)
    budget.charge(64, 1.0, 0.0)
    assert (budget.allows(64, 64, reuses=True), budget.allows(65, 1, reuses=True)) == (False, True)
    budget.begin(65)
    assert not budget.allows(65, 1, reuses=True)

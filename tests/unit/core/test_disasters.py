"""Tests the certificate that few answers are wholly lost, and how often it is wrong, exactly."""

import math

import pytest
from indexcache_core.evidence import disasters
from indexcache_core.histogram import Histogram, of

M, BETA = 0.98, 0.05


def answers(lost: int, kept: int) -> Histogram:
    return of([0.0] * lost + [1.0] * kept)


@pytest.mark.parametrize(
    ("drop", "expected"),
    [(0.0, 1.0), (0.1, 1.0), (0.1001, 0.0), (math.inf, 0.0), (math.nan, 0.0), (-math.inf, 1.0)],
)
def test_over_five_tolerances_an_answer_is_lost(drop: float, expected: float) -> None:
    assert disasters.value(drop, 0.02) == expected


@pytest.mark.parametrize(("share", "needed"), [(0.01, 354), (0.02, 176), (0.03, 117), (0.05, 70), (0.2, 16)])
def test_so_many_answers_without_a_loss_certify(share: float, needed: int) -> None:
    assert disasters.certified(answers(0, needed), 1 - share, BETA)
    assert not disasters.certified(answers(0, needed - 1), 1 - share, BETA)


def test_a_loss_takes_back_and_more_answers_make_good() -> None:
    assert not disasters.certified(answers(1, 200), M, BETA)
    assert disasters.certified(answers(1, 400), M, BETA)
    assert not disasters.certified(answers(20, 980), M, BETA)


def test_without_answers_nothing_is_said() -> None:
    none = Histogram()
    assert disasters.log_certificate(none, M) == 0.0
    assert disasters.certified(none, M, 1.0)  # at a level that promises nothing
    assert disasters.lower_bound(none, BETA) is None
    assert disasters.still_needed(none, M, BETA) is None


def test_what_is_still_needed_is_told() -> None:
    assert disasters.still_needed(answers(0, 176), M, BETA) == 0
    assert disasters.still_needed(answers(0, 100), M, BETA) in range(76, 82)
    assert disasters.still_needed(answers(30, 970), M, BETA) is None


def log_wealth(lost: float, kept: float) -> float:
    """Return the wealth written out, of answers that may be fractions."""
    q = 1 - M
    bets = (share**lost * ((1 - share * q) / (1 - q)) ** kept for share in disasters.SHARES)
    return math.log(sum(bets) / len(disasters.SHARES))


@pytest.mark.parametrize(("lost", "kept"), [(1, 199), (2, 298), (1, 150), (2, 250)])
def test_after_losses_what_is_needed_is_told_to_a_twentieth(lost: int, kept: int) -> None:
    needed = disasters.still_needed(answers(lost, kept), M, BETA)
    assert needed is not None
    enough, fewer = (1 + n / (lost + kept) for n in (needed, (needed - 1) / 1.05 - 1))
    assert (
        log_wealth(fewer * lost, fewer * kept) < -math.log(BETA) <= log_wealth(enough * lost, enough * kept)
    )


def test_one_answer_is_the_least_that_is_needed() -> None:
    assert disasters.still_needed(answers(0, 175), M, BETA) == 1


def test_what_takes_longer_than_anybody_waits_is_as_good_as_never() -> None:
    """Losses that are a little too few for the wealth to stand still: some four billion answers would do."""
    assert disasters.still_needed(counted(215, 14_679), M, BETA) is None


def test_the_bound_is_where_the_certificate_ends() -> None:
    bound = disasters.lower_bound(answers(1, 400), BETA)
    assert bound is not None
    assert bound > M
    assert disasters.certified(answers(1, 400), bound - 1e-3, BETA)
    assert not disasters.certified(answers(1, 400), bound + 1e-3, BETA)


def ever_certified(share: float, answers: int = 3000, most: int = 160) -> float:
    """Return the exact chance that so many answers, of which this share is lost, are ever certified, with a
    look after each.
    """
    chances, found, bound = [1.0] + [0.0] * (most - 1), 0.0, -1
    for n in range(1, answers + 1):
        fewer = [0.0, *chances[:-1]]
        chances = [x * (1 - share) + y * share for x, y in zip(chances, fewer, strict=True)]
        while bound + 1 < n and disasters.certified(counted(bound + 1, n - bound - 1), M, BETA):
            bound += 1
        found += sum(chances[: bound + 1])
        chances[: bound + 1] = [0.0] * (bound + 1)
    return found


def counted(lost: int, kept: int) -> Histogram:
    return Histogram(counts=(lost, *(0,) * 48, kept), sum=float(kept))


@pytest.mark.parametrize(
    ("share", "least", "most"),
    [(0.02, 0.049, BETA), (0.03, 0.005, 0.006), (0.01, 0.95, 0.96), (0.005, 0.99, 1.0)],
)
def test_too_many_losses_are_ever_certified_as_seldom_as_is_promised(
    share: float, least: float, most: float
) -> None:
    assert least <= ever_certified(share) <= most

"""The detector, by its recursion written out."""

import math

import pytest
from indexcache_core.evidence import betting, detector
from indexcache_core.evidence.betting import FRACTIONS
from indexcache_core.evidence.detector import Detector
from indexcache_core.histogram import Histogram, of

BAD = of([0.1, 0.3])
ONE = math.log(0.5)
"""log of w_1: half of the purse."""


def weight(t: int) -> float:
    """Return what slot t opens: of what is left of one half, which falls with the logarithm of the time."""
    return 0.5 if t == 1 else (1 / (1 + math.log(t - 1)) - 1 / (1 + math.log(t))) / 2


@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, 2), (2, 2), (2, 9), (5, 6), (900, 1000)])
def test_the_purse_of_some_slots(first: int, last: int) -> None:
    expected = sum(weight(t) for t in range(first, last + 1))
    assert math.exp(detector.log_purse(first, last)) == pytest.approx(expected)


def test_no_slots_no_purse() -> None:
    assert detector.log_purse(5, 4) == -math.inf


def test_before_any_observation() -> None:
    assert detector.fresh() == Detector(log_s=(ONE,) * len(FRACTIONS), slot=1)
    assert detector.fresh().log_e == pytest.approx(ONE)


def test_a_look_opens_the_bets_of_its_slots_and_plays_them_all() -> None:
    after = detector.fresh().after(BAD, 0.4, 7)
    gains = betting.log_wealth(betting.mirrored(BAD.counts), 0.6)
    purse = weight(1) + sum(weight(t) for t in range(2, 8))
    assert after.log_s == pytest.approx([math.log(purse) + gain for gain in gains])
    assert after.slot == 7
    again = after.after(BAD, 0.4, 7)
    assert again.log_s == pytest.approx([s + gain for s, gain in zip(after.log_s, gains, strict=True)])


def test_a_slot_never_falls_and_none_is_opened_twice() -> None:
    late = detector.fresh().after(BAD, 0.4, 7)
    again = late.after(BAD, 0.4, 3)
    assert again.slot == 7
    gains = betting.log_wealth(betting.mirrored(BAD.counts), 0.6)
    assert again.log_s == pytest.approx([s + gain for s, gain in zip(late.log_s, gains, strict=True)])


def test_without_observations_nothing_changes() -> None:
    before = detector.fresh()
    assert before.after(Histogram(), 0.4, 99) is before
    assert before.after(of([0.1]), 0.4, 2) != before


@pytest.mark.parametrize(("slot", "kept"), [(7, 7), (1, 1), (0, 1)])
def test_a_reader_that_begins_anew_bets_once_on_all_there_is(slot: int, kept: int) -> None:
    resumed = detector.resumed(BAD, 0.4, slot)
    gains = betting.log_wealth(betting.mirrored(BAD.counts), 0.6)
    assert resumed.log_s == pytest.approx([ONE + gain for gain in gains])
    assert resumed.slot == kept


def test_streams_are_bet_on_in_equal_parts() -> None:
    one, other = detector.fresh(), detector.fresh().after(BAD, 0.4, 7)
    expected = (math.exp(one.log_e) + math.exp(other.log_e)) / 2
    assert math.exp(detector.log_e([one, other])) == pytest.approx(expected)
    assert detector.log_e([]) == 0.0

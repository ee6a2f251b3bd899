"""Tests how fast requests and observations are said to come."""

from datetime import timedelta

import pytest
from indexcache_operator.plan.facts import pace
from indexcache_operator.plan.facts.pace import Pace

from tests.unit.operator.plan.build import at

LIFE = ("a", "life")


def ran(*looks: tuple[float, int, float], place: str = "p") -> Pace:
    """Return the pace after looks at these seconds, with so many requests and observations until then."""
    made = None
    for seconds, requests, observations in looks:
        made = pace.after(made, at(seconds), place, {LIFE: requests}, {"x": observations})
    assert made is not None
    return made


def test_a_rate_is_told_after_a_while() -> None:
    assert ran((0, 5, 0)).requests_per_minute() is None
    assert ran((0, 5, 0), (29, 9, 2)).per_minute("x") is None
    made = ran((0, 5, 0), (30, 9, 2))
    assert (made.requests_per_minute(), made.per_minute("x")) == (8.0, 4.0)


def test_what_was_admitted_before_says_nothing() -> None:
    assert ran((0, 1000, 0), (60, 1000, 0)).requests_per_minute() == 0.0


def test_a_rate_is_that_of_late_if_enough_came() -> None:
    busy = [(30.0 * i, 100 * i, 0.0) for i in range(40)]
    quiet = [(1200 + 30.0 * i, 4000 + i, 0.0) for i in range(40)]
    assert ran(*busy, *quiet).requests_per_minute() == pytest.approx(2.0, rel=0.2)


def test_of_few_requests_all_count() -> None:
    assert ran(*((30.0 * i, i // 10, 0.0) for i in range(80))).requests_per_minute() == pytest.approx(
        0.18, 0.1
    )


def test_another_place_and_a_gap_begin_anew() -> None:
    made = ran((0, 5, 0), (40, 9, 0))
    assert pace.after(made, at(41), "other", {LIFE: 9}, {}).lasted == timedelta()
    assert pace.after(made, at(101), "p", {LIFE: 9}, {}).lasted == timedelta()
    assert pace.after(made, at(100), "p", {LIFE: 9}, {}).lasted == timedelta(seconds=100)


def test_an_engine_that_is_new_counts_from_where_it_is_seen() -> None:
    made = pace.after(ran((0, 5, 0)), at(60), "p", {("b", "life"): 70}, {})
    assert made.requests_per_minute() == 0.0


def test_observations_that_were_lost_tell_no_rate() -> None:
    assert ran((0, 0, 9), (40, 0, 1)).per_minute("x") is None


def test_an_hour_is_kept() -> None:
    made = ran(*((10.0 * i, i, 0.0) for i in range(1000)))
    assert len(made.marks) <= 122
    assert made.lasted <= pace.KEPT + timedelta(seconds=30)

"""Tests how fast requests and observations are said to come."""

from datetime import timedelta

import pytest
from indexcache_operator.plan.facts import pace
from indexcache_operator.plan.facts.pace import Mark, Pace

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


def test_what_was_never_observed_came_at_no_rate() -> None:
    made = ran((0, 0, 9), (60, 0, 9))
    assert (made.per_minute("x"), made.per_minute("y")) == (0.0, 0.0)
    begun = pace.after(None, at(0), "p", {LIFE: 0}, {})
    assert pace.after(begun, at(60), "p", {LIFE: 0}, {"x": 3.0}).per_minute("x") == 3.0
    assert pace.after(ran((0, 0, 9)), at(60), "p", {LIFE: 0}, {}).per_minute("x") is None


@pytest.mark.parametrize(
    ("requests", "seconds", "rate"),
    [
        (20, 600, 2.0),  # of the last ten minutes
        (19, 600, 8.5),  # too few: of all
        (20, 599, None),
    ],
)
def test_a_rate_of_late_takes_so_many_requests_over_so_long(
    requests: int, seconds: float, rate: float | None
) -> None:
    marks = (Mark(at=at(-600)), Mark(at=at(0), requests=151))
    made = Pace(place="p", admitted={}, now=Mark(at=at(seconds), requests=151 + requests), marks=marks)
    of_all = (151 + requests) * 60 / (600 + seconds)
    assert made.requests_per_minute() == pytest.approx(rate or of_all)


def test_requests_before_a_mark_count_for_none_after_it() -> None:
    marks = (Mark(at=at(-3000)), Mark(at=at(0), requests=100))
    made = Pace(place="p", admitted={}, now=Mark(at=at(600), requests=101), marks=marks)
    assert made.requests_per_minute() == pytest.approx(101 / 60)


def test_a_mark_is_made_every_so_often_and_kept_for_an_hour() -> None:
    assert [len(ran((0, 0, 0), (seconds, 0, 0)).marks) for seconds in (29.9, 30)] == [1, 2]
    old = Pace(place="p", admitted={}, now=Mark(at=at(3590)), marks=(Mark(at=at(0)), Mark(at=at(3500))))
    for seconds, kept in ((3600, 3), (3601, 2)):
        assert len(pace.after(old, at(seconds), "p", {}, {}).marks) == kept

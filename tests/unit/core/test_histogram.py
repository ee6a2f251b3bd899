"""Bucketed measurements."""

import math

import pytest
from indexcache_core import histogram
from indexcache_core.histogram import BUCKETS, Histogram, of
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, 0), (0.0199, 0), (0.02, 1), (0.5, 25), (0.9999, 49), (1.0, 49)],
)
def test_the_bucket_of_a_value(value: float, expected: int) -> None:
    assert histogram.bucket(value) == expected
    assert histogram.lower(expected) <= value <= histogram.upper(expected)


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan])
def test_what_is_no_share_has_no_bucket(value: float) -> None:
    with pytest.raises(ValueError, match="not in"):
        histogram.bucket(value)


def test_bounds_of_buckets_meet() -> None:
    assert (histogram.lower(0), histogram.upper(BUCKETS - 1)) == (0.0, 1.0)
    assert [histogram.upper(i) for i in range(BUCKETS - 1)] == [histogram.lower(i) for i in range(1, BUCKETS)]


def test_counts_sum_and_mean() -> None:
    h = of([0.1, 0.1, 0.9])
    assert (h.counts[5], h.counts[45], h.count) == (2, 1, 3)
    assert h.sum == pytest.approx(1.1)
    assert h.mean == pytest.approx(1.1 / 3)
    assert (Histogram().mean, Histogram().count) == (None, 0)


def test_two_together_and_what_came_since() -> None:
    early, late = of([0.1]), of([0.1, 0.9])
    assert of([0.9]).plus(early) == of([0.9, 0.1])
    since = late.since(early)
    assert since is not None
    assert since.counts == of([0.9]).counts
    assert since.sum == pytest.approx(0.9)
    assert early.since(late) is None
    assert late.since(late) == Histogram()
    smaller = Histogram(counts=late.counts, sum=0.5)
    assert smaller.since(late) == Histogram()


def test_it_has_its_buckets() -> None:
    with pytest.raises(ValidationError):
        Histogram(counts=(1,) * (BUCKETS - 1))

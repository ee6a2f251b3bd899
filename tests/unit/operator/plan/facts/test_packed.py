"""Tests that a packed histogram is the histogram."""

import sys

from hypothesis import given
from hypothesis import strategies as st
from indexcache_core.histogram import BUCKETS, Histogram, of
from indexcache_operator.plan.facts.packed import packed

HISTOGRAMS = st.builds(
    Histogram,
    counts=st.lists(st.integers(0, 2**53), min_size=BUCKETS, max_size=BUCKETS).map(tuple),
    sum=st.floats(0, 2.0**53),
)


@given(HISTOGRAMS)
def test_what_is_packed_comes_back(histogram: Histogram) -> None:
    assert packed(histogram).unpacked() == histogram


@given(HISTOGRAMS, HISTOGRAMS)
def test_two_are_equal_if_the_histograms_are(a: Histogram, b: Histogram) -> None:
    assert (packed(a) == packed(b)) is (a == b)
    assert packed(a) == packed(a.model_copy())


def test_it_takes_a_fraction() -> None:
    histogram = of([0.8 + i / 1000 for i in range(150)] * 20)
    assert sys.getsizeof(packed(histogram).counts) < sys.getsizeof(histogram.counts) / 3

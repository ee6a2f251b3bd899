"""Packs what is remembered of each engine's counters: a histogram is mostly zeros, and a thousand rollouts
have tens of thousands.
"""

import zlib
from array import array
from typing import NamedTuple

from indexcache_core.histogram import Histogram

LEVEL = 1
"""Of compression: most of what it saves is zeros."""


class Packed(NamedTuple):
    """Holds a histogram in a fraction of its size. Two are equal if the histograms are."""

    counts: bytes
    sum: float

    def unpacked(self) -> Histogram:
        """Return the histogram."""
        counts = array("Q")
        counts.frombytes(zlib.decompress(self.counts))
        return Histogram(counts=tuple(counts), sum=self.sum)


def packed(histogram: Histogram) -> Packed:
    """Return a histogram, packed."""
    return Packed(zlib.compress(array("Q", histogram.counts).tobytes(), LEVEL), histogram.sum)

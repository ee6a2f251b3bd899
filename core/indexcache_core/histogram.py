"""Bucketed measurements, as engines report them: cumulative counts that only grow while an engine lives.

An observation in [0, 1] is counted in one of BUCKETS equal buckets. A bucket's bounds, not the value, are
what a reader may rely on: evidence bets on the bound that works against its own conclusion (see evidence/).
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

BUCKETS = 50


class Histogram(BaseModel):
    """Holds counts of observations in [0, 1] by bucket, and their sum. Bucket i holds [i / BUCKETS, (i + 1) /
    BUCKETS); 1.0 is in the last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    counts: Annotated[tuple[int, ...], Field(min_length=BUCKETS, max_length=BUCKETS)] = (0,) * BUCKETS
    sum: float = 0.0

    @property
    def count(self) -> int:
        """Return the number of observations."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """Return the mean of the observations themselves; None without any."""
        return self.sum / self.count if self.count else None

    def since(self, earlier: "Histogram") -> "Histogram | None":
        """Return what was added after `earlier`; None if this is not a continuation of it (the counter was
        reset).
        """
        counts = tuple(a - b for a, b in zip(self.counts, earlier.counts, strict=True))
        return None if min(counts) < 0 else Histogram(counts=counts, sum=max(self.sum - earlier.sum, 0.0))

    def plus(self, other: "Histogram") -> "Histogram":
        """Return both together."""
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Histogram(counts=counts, sum=self.sum + other.sum)


def of(values: Sequence[float]) -> Histogram:
    """Return a histogram of these values, each in [0, 1]."""
    counts = [0] * BUCKETS
    for value in values:
        counts[bucket(value)] += 1
    return Histogram(counts=tuple(counts), sum=float(sum(values)))


def bucket(value: float) -> int:
    """Return the bucket of a value in [0, 1]; ValueError outside (NaN included)."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{value} is not in [0, 1]")
    return min(int(value * BUCKETS), BUCKETS - 1)


def lower(i: int) -> float:
    """Return the lower bound of bucket i."""
    return i / BUCKETS


def upper(i: int) -> float:
    """Return the upper bound of bucket i."""
    return (i + 1) / BUCKETS

"""The least and the most of everything that a user may set: each once, for the spec, its CRD, the contract
and the evidence.

What the API server accepts, the planner must be able to plan, an engine to take, and the evidence to decide.
So a bound is never written down beside the field that it belongs to; a field names it here.
`tests/unit/generate/test_bounds.py` compares the CRD with the models.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import Field

from indexcache_core.histogram import BUCKETS, lower, upper
from indexcache_core.pattern import MAX_SITES


@dataclass(frozen=True)
class Numbers:
    """A range of numbers."""

    least: float
    most: float
    open: bool = False
    """Whether its ends don't belong to it."""

    def field(self) -> Any:  # Any: what pydantic takes beside a type
        """Return the range as a constraint of a pydantic field."""
        if self.open:
            return Field(gt=self.least, lt=self.most, allow_inf_nan=False)
        return Field(ge=self.least, le=self.most, allow_inf_nan=False)

    def __contains__(self, value: float) -> bool:
        """Tell whether a number lies in the range; NaN never does."""
        return self.least < value < self.most if self.open else self.least <= value <= self.most


@dataclass(frozen=True)
class Wholes:
    """A range of whole numbers, its ends included."""

    least: int
    most: int

    def field(self) -> Any:  # Any: what pydantic takes beside a type
        """Return the range as a constraint of a pydantic field."""
        return Field(ge=self.least, le=self.most)

    def __contains__(self, value: int) -> bool:
        """Tell whether a number lies in the range."""
        return self.least <= value <= self.most


@dataclass(frozen=True)
class Span:
    """A range of durations, its ends included."""

    least: timedelta
    most: timedelta

    def __contains__(self, value: timedelta) -> bool:
        """Tell whether a duration lies in the range."""
        return self.least <= value <= self.most


_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)

# ---- Evidence

THRESHOLD = Numbers(upper(0), lower(BUCKETS - 1), open=True)
"""Of a mean in [0, 1]. Evidence bets on the bounds of buckets: at the least and under it no observation
counts against a pattern, at the most and over it none counts for it, so nothing could ever be breached or
certified there.
"""
ERROR = Numbers(1e-6, 0.5)
"""alpha and beta: the chance of being wrong. Over a half it says nothing; less than the least would take more
evidence than a rollout sees, and its parts for single tests and engines would reach the end of what a float
holds.
"""
LOGPROB_DROP = Numbers(1e-4, 10.0)
"""Nats a token. Less is under what two runs of one engine differ by."""

DISASTER_SHARE = Numbers(0.001, 0.5)
"""Of probes' answers that are wholly lost. Less would take more than 4,000 answers to certify."""
TIME_SHARE = Numbers(0.001, 1.0)
"""Of a pod's time, for probes."""

WORK_SHARE = Numbers(0.01, 1.0)
"""Of the indexers' work that reuse must reach. Less would promote what nobody notices."""

# ---- Durations

PERMIT = Span(_SECOND, 7 * _DAY)
"""How long reuse goes on unrenewed. An operator renews it between two looks, so a shorter one would lapse by
itself; the most is what an engine takes.
"""
DEADLINE = Span(10 * _SECOND, 30 * _DAY)
"""Of a phase or of a step, before it falls back: long enough for a few looks at some requests."""
PAUSE = Span(timedelta(), 30 * _DAY)
"""How long a step lasts at least."""

# ---- Whole numbers

REPLICAS = Wholes(1, 1000)
PORT = Wholes(1, 65535)
PERCENT = Wholes(1, 100)
SITES = Wholes(0, MAX_SITES - 1)
"""Positions of indexers."""
CONTEXT_TOKENS = Wholes(0, 1_000_000_000)
SAMPLE_ROWS = Wholes(1, 4096)
"""Query rows measured a step. To an engine 0 may be said as well: nothing is measured then."""
REQUESTS = Wholes(1, 1_000_000_000)

# ---- Sizes

STEPS = 32
"""Of a canary."""
TEXT = 512
"""Characters of an image's or a model's name."""
KILL_REASON = 512
"""Characters of what a kill says of itself."""
PROBE_NAME = 64
"""Characters of the name of one side of a pair of probes."""
PROBE_RUNS = 32
"""Sides of pairs that an engine tells of, the last ones."""

"""Holds what the planner remembers of paired probes beside their values: how many were drawn, what became of
them, and when each pod was last asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from indexcache_core.evidence.detector import Detector
from indexcache_core.histogram import Histogram


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Says when a pod's last pair ended, and what it took."""

    ended: datetime
    seconds: float
    in_vain: int = 0
    """How many in a row didn't count."""


@dataclass(frozen=True, kw_only=True)
class Probing:
    """Remembers one try's probes."""

    tolerance: float = 0.0
    """What answers are counted in, in nats a token; 0 until read from the status."""
    asked: int = 0
    """Pairs that ended: the number of the next draw."""
    kept: Histogram = field(default_factory=Histogram)
    """Of each that counts, 1 if its answer was kept, 0 if it was a disaster."""
    detector: Detector | None = None
    """On those; None until read from the status."""
    failed: int = 0
    """Of those, that failed under reuse."""
    uncounted: Mapping[str, int] = field(default_factory=dict)
    """Pairs that didn't count, by the reason."""
    seconds: float = 0.0
    """What all pairs took."""
    last: Mapping[str, Asked] = field(default_factory=dict)
    """By pod."""
    before: Asked | None = None
    """What a pod that wasn't asked by this process may have been asked by the one before it."""

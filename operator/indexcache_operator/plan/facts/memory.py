"""Holds what the planner remembers between two looks of one process. Losing it loses sensitivity for a
moment, never correctness.
"""

from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from indexcache_core.contract import Work
from indexcache_core.evidence.detector import Detector
from indexcache_core.evidence.guardrails import Measure as Measure
from indexcache_core.evidence.guardrails import Stream as Stream
from indexcache_core.evidence.guardrails import TestKey as TestKey
from indexcache_core.histogram import Histogram

from indexcache_operator.plan.facts.pace import Pace
from indexcache_operator.plan.facts.packed import Packed
from indexcache_operator.plan.facts.probing import Probing


class TotalKey(NamedTuple):
    """Names a cumulative histogram over all engines that the revision ran on."""

    measure: Measure
    site: int | None
    """None: the mean over the Shared sites."""
    context: int
    work: Work
    mode: Stream


SHARED = 8192
"""Keys of which there is one each, however many rollouts hold it."""


@lru_cache(maxsize=SHARED)
def total_key(measure: Measure, site: int | None, context: int, work: Work, mode: Stream) -> TotalKey:
    """Return the name of a cumulative histogram, the very same object for the same."""
    return TotalKey(measure, site, context, work, mode)


@lru_cache(maxsize=SHARED)
def detector_key(test: TestKey, stream: Stream) -> tuple[TestKey, Stream]:
    """Return the name of a detector, the very same object for the same."""
    return test, stream


class SeriesKey(NamedTuple):
    """Names the same of one life of one engine."""

    pod: str
    incarnation: str
    series_number: int
    total: TotalKey


class Slots(NamedTuple):
    """Dates looks by the seconds of the try: by the wall clock once, at this process' first look, and from
    there on by a clock that never jumps.
    """

    uptime: float
    """Of the first look."""
    slot: int
    """Its slot, from 1 on."""

    def at(self, uptime: float) -> int:
        """Return the slot of a later look."""
        return self.slot + max(int(uptime - self.uptime), 0)


Life = tuple[str, str]
"""A pod and its engine's incarnation."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Says where counting of users' requests began (requests.py)."""

    setting: str
    """What they are counted for."""
    since: datetime
    admitted: dict[Life, int]
    """Requests admitted until then."""
    number: int = 1
    """How often counting for this setting has begun: what each beginning may be wrong by depends on it."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Remembers one revision's try, under one set of guardrails: `key` names them, and another key starts
    from nothing.
    """

    key: str
    slots: Slots | None = None
    """How looks are dated; None before the first."""
    seen: dict[SeriesKey, Packed] = field(default_factory=dict)
    totals: dict[TotalKey, Histogram] = field(default_factory=dict)
    detectors: dict[tuple[TestKey, Stream], Detector] = field(default_factory=dict)
    quality: Histogram | None = None
    """Values of probes; None until read from the status."""
    quality_counts: dict[str, dict[str, int]] = field(default_factory=dict)
    drop_sum: float = 0.0
    quality_detector: Detector | None = None
    probed_at: datetime | None = None
    """When a pair of probes was asked of which nothing was heard yet."""
    probing: Probing = field(default_factory=Probing)
    answered: frozenset[Life] = frozenset()
    """Pods and incarnations that answered a pair of probes that counts."""
    data_at: datetime | None = None
    """When an observation last came."""
    mark: Mark | None = None
    contradicted_at: datetime | None = None
    """When the status last said what traffic was seen against the weight."""
    draining: dict[Life, Mark] = field(default_factory=dict)
    """Those behind neither Service on their way to the canary's, with the counters since their last
    request.
    """
    drained_pods: frozenset[Life] = frozenset()
    """Those that get no requests there any more."""
    permits: dict[Life, datetime] = field(default_factory=dict)
    """When the permit ends of each that was last heard to run the reuse it was told to."""
    silent: dict[str, datetime] = field(default_factory=dict)
    """Since when each pod's engine gives no answer, by its name."""
    admitted: dict[Life, int] | None = None
    """Users' requests at the last look, by pod and incarnation."""
    requests_seen: int = 0
    counting: str = ""
    """The phase and step that `requests_seen` belongs to."""
    pace: Pace | None = None
    """How fast requests and observations come (pace.py)."""
    published_at: datetime | None = None
    """When live figures were last put into the status."""
    published: tuple[tuple[str, str], ...] = ()
    """The verdicts put into it."""

"""What the planner remembers between two looks of one process. Losing it loses sensitivity for a moment, never correctness."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from indexcache_core.contract import Mode
from indexcache_core.evidence.detector import Detector
from indexcache_core.histogram import Histogram

Measure = Literal["overlap", "recall"]
Stream = Literal[Mode.SHADOW, Mode.ON]


class SeriesKey(NamedTuple):
    """One cumulative histogram of one life of one engine."""

    pod: str
    incarnation: str
    series_number: int
    measure: Measure
    site: int
    context: int
    mode: Stream


class TotalKey(NamedTuple):
    """The same, over all engines that the revision ran on."""

    measure: Measure
    site: int
    context: int
    mode: Stream


class TestKey(NamedTuple):
    """One test: see guardrails.py."""

    guardrail: str
    site: int | None = None
    context: int | None = None


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Where counting of traffic for one setting of the route began."""

    setting: str
    """Which weight, under which generation of the route."""
    since: str
    admitted: dict[tuple[str, str], int]
    """By pod and incarnation, users' requests admitted until then."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """One revision's try, under one set of guardrails: `key` names them, and another key starts from nothing."""

    key: str
    seen: dict[SeriesKey, Histogram] = field(default_factory=dict)
    totals: dict[TotalKey, Histogram] = field(default_factory=dict)
    detectors: dict[tuple[TestKey, Stream], Detector] = field(default_factory=dict)
    quality: Histogram | None = None
    """Values of probes; None until read from the status."""
    quality_counts: dict[str, dict[str, int]] = field(default_factory=dict)
    drop_sum: float = 0.0
    quality_detector: Detector | None = None
    probed_at: str = ""
    answered: frozenset[tuple[str, str]] = frozenset()
    """Pods and incarnations that answered a probe under reuse."""
    data_at: str = ""
    """When an observation last came."""
    mark: Mark | None = None
    leaving: dict[tuple[str, str], Mark] = field(default_factory=dict)
    """Pods and incarnations on their way out of the baseline's Service, with the counters since their last request."""
    silent: frozenset[tuple[str, str]] = frozenset()
    """Those that get no requests there any more."""
    admitted: dict[tuple[str, str], int] | None = None
    """Users' requests at the last look, by pod and incarnation."""
    context_counts: dict[tuple[str, str], tuple[int, ...]] | None = None
    """Users' requests by context length at the last look, by pod and incarnation."""
    contexts: tuple[float, ...] = ()
    """Users' requests by context length, the older the lighter (contexts.py)."""
    requests_seen: int = 0
    counting: str = ""
    """The phase and step that `requests_seen` belongs to."""
    published_at: str = ""
    """When live figures were last put into the status."""
    published: tuple[tuple[str, str], ...] = ()
    """The verdicts put into it."""

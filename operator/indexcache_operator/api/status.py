"""The status of an IndexCacheRollout: everything that must survive a crash of the operator, and what people
read.

What is live (counters, wealth between two writes) is not here: the engines' counters are cumulative, so an
operator that restarts recomputes what it missed.

These types are frozen dataclasses, changed by `dataclasses.replace`, so that a misspelt field or a value of
another type is an error of the type checker. api/stored.py turns them into an object of the API and back.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from indexcache_core.evidence.verdict import Verdict
from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from indexcache_operator.api.times import MaybeTime, Seconds, Time

Backend = dict[str, Any]  # Any: a backend is the user's own, and may have any field that its gateway knows
ConditionStatus = Literal["True", "False", "Unknown"]
Outcome = Literal["Promoted", "FellBack", "Superseded"]


class _Stored:
    """Says how a part of the status is written down: fields in camelCase, described by their docstrings.

    A field that this version doesn't know is left out when a status is read; one that is missing has its
    default.
    """

    __slots__ = ()
    __pydantic_config__ = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True
    )


class Phase(StrEnum):
    """A summary; the truth is in the conditions."""

    PENDING = "Pending"
    CHECKING = "Checking"
    SHADOWING = "Shadowing"
    CANARY = "Canary"
    PROMOTING = "Promoting"
    PROMOTED = "Promoted"
    FALLING_BACK = "FallingBack"
    FELL_BACK = "FellBack"
    FAILED = "Failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition(_Stored):
    """As in Kubernetes' API conventions."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""
    last_transition_time: MaybeTime = None
    observed_generation: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class StepStatus(_Stored):
    """The step under way."""

    index: int
    weight: int
    started_at: Time
    reached_at: MaybeTime = None
    """When the engines' own counters showed the weight."""
    requests_seen: int = 0
    requests_needed: int | None = None
    """An estimate of what the certificate still wants; None while it can't be estimated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RouteStatus(_Stored):
    """The user's route as it was before the first change: where it is, so that it is found again if the spec
    names another by then.
    """

    name: str
    rule: str
    original_backends: tuple[Backend, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrafficStatus(_Stored):
    """Percent of the traffic on the canary."""

    desired: int = 0
    previous: int = 0
    """What it was before; what the engines' counters must refute."""
    observed: int | None = None
    """By the engines' own request counters; None while they don't tell."""
    verified_generation: int | None = None
    """Generation of the route whose weight they showed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PodStatus(_Stored):
    """One engine."""

    name: str
    canary: bool = False
    state: str = "unknown"
    epoch: int = 0
    """Of the flags last wanted of it."""
    desired: str = "off"
    """Those flags by name: their mode, the kind of permit and a hash."""
    permit: Annotated[Seconds, Field(alias="permitSeconds")] = timedelta()
    """The longest that reuse may go on there by itself; 0 once the engine was seen at the baseline under
    `epoch`.
    """
    confirmed: str = ""
    """The incarnation whose exposure was confirmed: in mode on, and a probe answered where there are
    probes.
    """
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceStatus(_Stored):
    """One test of one guardrail."""

    guardrail: str
    contexts: str = ""
    indexer: int | None = None
    verdict: Verdict
    mean: float | None = None
    lower_bound: float | None = None
    threshold: float | None = None
    samples: int = 0
    e_value: float = 0.0
    """Wealth of the bet against the pattern; at 1 / alpha the guardrail counts as breached."""
    alpha: float


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityStatus(_Stored):
    """Probes answered so far, which no engine remembers: counts by bucket of context length and bucket of
    value, sparse.
    """

    revision: str
    tolerance: float = 0.0
    """The maxLogprobDrop that the counts are in."""
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    drop_sum: float = 0.0
    pairs: int = 0
    """That count."""
    disasters: int = 0
    """Of those, that lost over five tolerances or failed under reuse."""
    failed: int = 0
    """Of those, that failed under reuse alone."""
    asked: int = 0
    """Pairs that ended, however: the next one drawn has this number."""
    uncounted: dict[str, int] = field(default_factory=dict)
    """Pairs that didn't count, by the reason."""
    seconds: float = 0.0
    """What all pairs took."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FallbackStatus(_Stored):
    """The intent to fall back; written before anything else about it is reported."""

    cause: str
    message: str = ""
    since: Time
    revision: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected(_Stored):
    """A revision that is not tried again without `indexcache.dev/retry`."""

    revision: str
    reason: str
    message: str = ""
    at: Time
    retried: str = ""
    """The value of `indexcache.dev/retry` when it was rejected: used up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryEntry(_Stored):
    """How one revision ended."""

    revision: str
    pattern: str
    outcome: Outcome
    reason: str
    at: Time


@dataclass(frozen=True, kw_only=True, slots=True)
class Status(_Stored):
    """An IndexCacheRollout's status."""

    uid: str = ""
    """Of the rollout that this is about. Restored from a backup under another, what was shown before is no
    evidence.
    """
    observed_generation: int = 0
    phase: Phase = Phase.PENDING
    message: str = ""
    revision: str = ""
    runtime: str = ""
    """The image that brings the plugin into engines where spec.engine.runtime names none: the one that the
    operator came with when the rollout was first deployed. It never changes.
    """
    checkpoint: str = ""
    """What tells the weights that this try is about from others, as all engines say; empty while it isn't
    known.
    """
    phase_started_at: MaybeTime = None
    revision_started_at: MaybeTime = None
    """When this try of the revision began: evidence counts from here."""
    requests_seen: int = 0
    """Users' requests seen in this phase, or this step of it."""
    paused_at: MaybeTime = None
    """Since when a deadline stands still."""
    epoch: int = 0
    """The last epoch given to engines: persisted before it is used."""
    step: StepStatus | None = None
    route: RouteStatus | None = None
    traffic: TrafficStatus = TrafficStatus()
    canary_pods: tuple[str, ...] = ()
    """Pods chosen for exposure, in the order in which they were chosen."""
    pods: tuple[PodStatus, ...] = ()
    evidence: tuple[EvidenceStatus, ...] = ()
    quality: QualityStatus | None = None
    fallback: FallbackStatus | None = None
    rejected: tuple[Rejected, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    conditions: tuple[Condition, ...] = ()
    # What the printer columns show.
    step_summary: str = ""
    recall: str = ""
    verdict: str = ""
    reason: str = ""

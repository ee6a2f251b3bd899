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


class Origin(StrEnum):
    """Where the cause of an end or of a wait lies. Only the pattern's rejects a revision."""

    PATTERN = "Pattern"
    """Evidence on what is tried."""
    TRAFFIC = "Traffic"
    """Too few requests, or none of the kind that is wanted."""
    PLATFORM = "Platform"
    """The cluster, the gateway, engines, the operator."""
    USER = "User"
    """An edit, a kill, a pause."""


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
    """Of the observations; of quality, of the drops in log-probability."""
    lower_bound: float | None = None
    """Above which the mean is with probability 1 - badPromotion, however often one looks."""
    upper_bound: float | None = None
    """The same of quality, below which the mean drop is."""
    threshold: float | None = None
    """What the spec asks for: the least mean, of quality the largest drop."""
    unit: str = ""
    """Of mean, bounds and threshold; none for shares."""
    samples: int = 0
    """Observations so far."""
    e_value: float = 0.0
    """Wealth of the bet against the pattern; at 1 / alpha the guardrail counts as breached."""
    alpha: float


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityStatus(_Stored):
    """Probes answered so far, which no engine remembers: counts by bucket of context length and bucket of
    value, sparse.
    """

    revision: str
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    drop_sum: float = 0.0
    pairs: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class FallbackStatus(_Stored):
    """The intent to fall back; written before anything else about it is reported."""

    cause: str
    """In one word."""
    origin: Origin | None = None
    """Where the cause lies. None: written by an alert a moment ago, or by an older operator."""
    message: str = ""
    since: Time
    revision: str
    """The revision that ends."""
    kill: str = ""
    """The value of `indexcache.dev/kill` that asked for it; it is tried again once that is taken away."""
    retried: str = ""
    """The value of `indexcache.dev/retry` when it began: used up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldStatus(_Stored):
    """A canary that ended undecided: back in shadow with all its evidence, to be exposed again by itself."""

    cause: str
    """In one word."""
    origin: Origin
    """Where the cause lies."""
    message: str = ""
    since: Time
    times: int = 1
    """How often this try was held so far. Each pause is twice as long as the one before, a day at most."""
    not_before: Time
    """Nobody is exposed before this time, unless the spec is edited or a retry is asked for."""
    requests_per_minute_needed: float | None = None
    """Nobody is exposed before users send so many. None: their number is not what was missing."""
    generation: int = 0
    """Of the spec that was held; another ends the hold."""
    retried: str = ""
    """The value of `indexcache.dev/retry` when it began: used up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WaitStatus(_Stored):
    """What is waited for, for how long, and what a person can do about it."""

    origin: Origin
    """Where the cause lies."""
    reason: str
    """In one word."""
    message: str = ""
    """What is waited for."""
    observations: int | None = None
    """How many the slowest certificate has."""
    observations_needed: int | None = None
    """How many more it needs, if those to come are like those that came."""
    requests_per_minute: float | None = None
    """Users' requests, seen of late."""
    requests_per_minute_needed: float | None = None
    """At which the step would end within its deadline."""
    expected: str = ""
    """About how long, at the rate seen; empty where that can't be told."""
    way_out: str = ""
    """What a person can do."""


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
    origin: Origin | None = None
    """Where the reason lies; None where an older operator wrote it, and for what was promoted."""
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
    hold: HoldStatus | None = None
    waiting: WaitStatus | None = None
    rejected: tuple[Rejected, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    conditions: tuple[Condition, ...] = ()
    # What the printer columns show.
    step_summary: str = ""
    """The step under way, of how many."""
    reuse: int = 0
    """Percent of the rollout's traffic that meets reuse, by the route's weight and the pods that run it."""
    recall: str = ""
    """The mean of the weakest bucket of context length, and in brackets the bound above which it is with
    probability 1 - badPromotion. Empty where nothing is measured.
    """
    verdict: str = ""
    """The one that decides, of all guardrails. Empty where nothing is measured."""
    reason: str = ""
    """How it ended, or what it waits for."""

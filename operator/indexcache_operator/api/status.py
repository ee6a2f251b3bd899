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
from pydantic import Field

from indexcache_operator.api.base import Stored
from indexcache_operator.api.endings import FallbackStatus as FallbackStatus
from indexcache_operator.api.endings import HistoryEntry as HistoryEntry
from indexcache_operator.api.endings import HoldStatus as HoldStatus
from indexcache_operator.api.endings import Origin as Origin
from indexcache_operator.api.endings import Outcome as Outcome
from indexcache_operator.api.endings import Rejected as Rejected
from indexcache_operator.api.endings import WaitStatus as WaitStatus
from indexcache_operator.api.reach import CapStatus as CapStatus
from indexcache_operator.api.reach import ReachStatus as ReachStatus
from indexcache_operator.api.times import MaybeTime, Seconds, Time

Backend = dict[str, Any]  # Any: a backend is the user's own, and may have any field that its gateway knows
ConditionStatus = Literal["True", "False", "Unknown"]


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


AT_REST = (Phase.PROMOTED, Phase.FELL_BACK, Phase.FAILED)
"""Phases in which nobody is exposed further or brought back: they wait for somebody."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition(Stored):
    """As in Kubernetes' API conventions."""

    type: str
    """Of which there is one each: Ready, Reconciling, Stalled, Paused, Waiting, EnginesAnswer and so on."""
    status: ConditionStatus
    """True, False, or Unknown where nothing tells."""
    reason: str
    """In one word; docs/reference/operator.md lists them."""
    message: str = ""
    """For people."""
    last_transition_time: MaybeTime = None
    """When its status last changed."""
    observed_generation: int = 0
    """Of the spec that it speaks of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepStatus(Stored):
    """The step under way."""

    index: int
    """Of spec.strategy.steps, from 0."""
    weight: int
    """Percent of the traffic that it is to have."""
    started_at: Time
    """When it began: progressDeadline counts from here, but for pauses."""
    reached_at: MaybeTime = None
    """When the engines' own counters showed the weight."""
    requests_seen: int = 0
    """Users' requests under reuse in this step."""
    requests_needed: int | None = None
    """An estimate of what the certificate still wants; None while it can't be estimated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RouteStatus(Stored):
    """The user's route as it was before the first change: where it is, so that it is found again if the spec
    names another by then.
    """

    name: str
    """Of the HTTPRoute."""
    rule: str
    """Of the rule in it."""
    original_backends: tuple[Backend, ...]
    """The rule's own backends, as they are put back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrafficStatus(Stored):
    """Percent of the traffic on the canary."""

    desired: int = 0
    """What the route gives the canary, or is about to."""
    previous: int = 0
    """What it was before; what the engines' counters must refute."""
    observed: int | None = None
    """By the engines' own request counters; None while they don't tell."""
    verified_generation: int | None = None
    """Generation of the route whose weight they showed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredStatus(Stored):
    """What an engine had counted when counting began, of one life under one set of flags, in one step: what
    came since tells whether it goes on measuring.
    """

    under: str
    """The incarnation, the epoch of its flags, and the step."""
    before: tuple[int, ...] = ()
    """Observations when the step began, by bucket of context length; empty outside of steps."""
    window: int = 1
    """The number of the window in which requests are counted now; one ends with an observation in it."""
    requests: int = 0
    """Admitted under reuse when the window began."""
    judged: int = 0
    """Admitted when it began with a prompt of a judged length that reuse reaches, less those that opted
    out.
    """
    steps: int = 0
    """Under reuse when it began."""
    observations: int = 0
    """Of judged lengths when it began."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PodStatus(Stored):
    """One engine."""

    name: str
    """Of the pod."""
    canary: bool = False
    """Whether it is chosen for exposure."""
    state: str = "unknown"
    """The mode that its engine says, or unreachable."""
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
    measured: MeasuredStatus | None = None
    reason: str = ""
    """Why it is in that mode, or why it has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceStatus(Stored):
    """One test of one guardrail."""

    guardrail: str
    """As the spec names it."""
    contexts: str = ""
    """Tokens of context that it speaks of; empty: all that are judged."""
    work: str = ""
    """Prefill or decode; empty for probes."""
    indexer: int | None = None
    """That it speaks of; none: the mean over the Shared ones."""
    verdict: Verdict
    """Breached, NoData, Holding, Certified, or Observing where it may not act."""
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
    """Its part of falseRollback."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityStatus(Stored):
    """Probes answered so far, which no engine remembers: counts by bucket of context length and bucket of
    value, sparse.
    """

    revision: str
    """Whose they are."""
    tolerance: float = 0.0
    """The maxLogprobDrop that the counts are in."""
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    """By bucket of context length and bucket of value."""
    drop_sum: float = 0.0
    """Of the drops in log-probability, in nats a token."""
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
class Status(Stored):
    """An IndexCacheRollout's status."""

    uid: str = ""
    """Of the rollout that this is about. Restored from a backup under another, what was shown before is no
    evidence.
    """
    observed_generation: int = 0
    """Of the spec that the operator has looked at."""
    phase: Phase = Phase.PENDING
    message: str = ""
    """Where it is and why, in a sentence."""
    revision: str = ""
    """Of what is tried: a hash of spec.engine without replicas, and of spec.indexCache."""
    runtime: str = ""
    """The image that brings the plugin into engines where spec.engine.runtime names none: the one that the
    operator came with when the rollout was first deployed. It never changes.
    """
    checkpoint: str = ""
    """What tells the weights that this try is about from others, as all engines say; empty while it isn't
    known.
    """
    phase_started_at: MaybeTime = None
    """When this phase began."""
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
    reach: ReachStatus | None = None
    canary_pods: tuple[str, ...] = ()
    """Pods chosen for exposure, in the order in which they were chosen."""
    pods: tuple[PodStatus, ...] = ()
    """All engines."""
    evidence: tuple[EvidenceStatus, ...] = ()
    """A row for each certificate, of the indexers for the weakest."""
    quality: QualityStatus | None = None
    fallback: FallbackStatus | None = None
    hold: HoldStatus | None = None
    waiting: WaitStatus | None = None
    rejected: tuple[Rejected, ...] = ()
    """Revisions that evidence speaks against."""
    history: tuple[HistoryEntry, ...] = ()
    """How the last tries ended, the newest last."""
    conditions: tuple[Condition, ...] = ()
    """As in Kubernetes' API conventions."""
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

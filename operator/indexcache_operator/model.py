"""Holds all that passes between observe/, plan/ and act/: what was seen, what is to be done, and what doing
it needs.

`plan(observation, memory) -> Plan` is pure. An Observation is one look at everything; an Action is idempotent
and safe to do again after a crash at any point. A Sighting carries, beside the observation, what no decision
may rest on and acting can't do without.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, TypeVar

from indexcache_core.contract import Desired, Mode, State

from indexcache_operator.api.spec import HttpRoute, Spec
from indexcache_operator.api.status import Backend, Status
from indexcache_operator.credentials import Control
from indexcache_operator.objects import Object
from indexcache_operator.workload.render import Workload

MAX_CONTINUATION = 8
"""Tokens of a probe's continuation: each is a request of its own, on both sides."""


class Uncounted(StrEnum):
    """Says why a pair of probes is no observation."""

    BASELINE_FAILED = "BaselineFailed"
    """The side without reuse gave no usable answer: nothing to compare with."""
    UNANSWERED = "Unanswered"
    """The pod refused or broke a connection, was too busy, or was silent on both sides."""
    NOT_ALL_REUSED = "NotAllReused"
    """Too few rows of the side of reuse ran under it, since others in its steps had them run all Full."""
    FULL_REUSED = "FullReused"
    """Rows of the side without reuse ran under it."""
    FLIPPED = "Flipped"
    """The engine was restarted, switched or given other flags meanwhile."""
    UNTOLD = "Untold"
    """The engine doesn't tell how the sides were computed."""


@dataclass(frozen=True, kw_only=True)
class EnginePod:
    """A pod of the rollout's Deployment and what its engine said, if it could be asked."""

    name: str
    ip: str | None
    ready: bool
    deleting: bool = False
    current: bool = True
    """Made from the Deployment's present template."""
    baseline_label: bool = False
    canary_label: bool = False
    state: State | None = None
    error: str | None = None
    """Why there is no state."""
    silent: bool = False
    """There is none because it gave no answer, as happens to one on a busy machine."""
    problem: str | None = None
    """Why the pod isn't ready, in the kubelet's words (image, crash loop, unschedulable)."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """The user's HTTPRoute, as far as it concerns the rollout."""

    found: bool
    rule_index: int | None = None
    backends: tuple[Backend, ...] = ()
    generation: int = 0
    resource_version: str = ""
    accepted_generation: int | None = None
    """Highest generation that every parent reports as Accepted with ResolvedRefs."""
    problem: str | None = None
    request_timeout: timedelta | None = None
    """After which a request ends, by the rule or its gateways' defaults. None: no bound is known."""
    unread: bool = False
    """It could not be read just now: this is how it was last seen, if it ever was."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A prompt with a fixed continuation."""

    prompt: str
    continuation: str
    context_tokens: int


@dataclass(frozen=True, kw_only=True)
class ProbeSet:
    """The rollout's probes, or why there are none."""

    probes: tuple[Probe, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """Holds what became of one pair: log-probabilities of the continuation, mean a token, in nats."""

    revision: str
    number: int
    """Of the draw."""
    pod: str
    incarnation: str = ""
    mode: Mode = Mode.ON
    """The engine's, when the pair was over."""
    context_tokens: int = 0
    full_logprob: float = 0.0
    reuse_logprob: float | None = None
    """None: under reuse there was no usable answer."""
    uncounted: Uncounted | None = None
    """Why it is no observation; None: it is one."""
    message: str = ""
    """What failed, for people."""
    seconds: float = 0.0
    """What both sides took."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """Holds what one look saw: everything that a decision may rest on."""

    now: datetime
    uptime: float
    """Seconds of a clock that never jumps, from any beginning: only differences within one process count."""
    name: str
    namespace: str
    uid: str
    generation: int
    annotations: dict[str, str]
    deleting: bool
    spec: Spec | None
    spec_problem: str | None = None
    """Why the spec could not be read."""
    unknown_fields: tuple[str, ...] = ()
    """Fields of the spec that this version doesn't know: what they ask for can't be done, so nothing starts
    or advances.
    """
    route_holder: str | None = None
    """Another rollout that has the rule of the spec's route already."""
    status: Status
    term: int = 0
    """Of the lead that this look is taken under; 0 where nobody is elected."""
    pinned_runtime: str = ""
    """Image of the plugin where the spec names none: the status's, else the one that is deployed, else this
    operator's. Empty while it can't be known.
    """
    offered_runtime: str = ""
    """The image that this operator comes with."""
    workload_current: bool = False
    """Deployment and Services are as this spec wants them."""
    pods: tuple[EnginePod, ...] = ()
    route: Route | None = None
    """None: the spec names none."""
    probes: ProbeSet | None = None
    probe_results: tuple[ProbeResult, ...] = ()
    """New since the last look."""
    model_config: Object | None = None
    """The model's config.json, where it can be read before a pod exists."""
    unread: tuple[str, ...] = ()
    """What could not be read in this look, and why."""


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Holds one IndexCacheRollout, as it was read."""

    raw: Object
    """Its resourceVersion is what a write of the status is checked against."""
    name: str
    namespace: str
    uid: str
    generation: int
    annotations: dict[str, str]
    deleting: bool
    held: bool
    """Whether our finalizer is on it."""
    spec: Spec | None
    spec_problem: str | None
    unknown_fields: tuple[str, ...] = ()
    """Fields of the spec that this version doesn't know."""
    status: Status


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """Holds one look at a rollout: the observation, and what acting on it needs beside."""

    observation: Observation
    rollout: Rollout
    route: HttpRoute | None
    """The rule whose backends are changed, and its route: as the status says, else the spec."""
    workload: Workload | None
    """What the spec wants; None if it can't be read, or bound to a key that isn't known."""
    control: Control | None
    """What guards the engines of the Deployment; None if the key that they are bound to isn't known."""
    deployment_uid: str | None
    """Of the rollout's own Deployment; None where none is known."""
    tokens: dict[str, str] = field(repr=False)
    """Of engines' control ports, by address."""
    api_key: str | None = field(repr=False)
    """What the engines ask of users, if anything."""
    addresses: dict[str, str]
    """Of pods, by name."""
    pods: dict[str, Object] = field(repr=False)
    """Metadata of pods, by name: their versions are what a write of labels is checked against."""


# ------------------------------------------------------------------------------------------------------------
# Actions. Those of one plan are done in the order given, but that kills wait for nothing and come first.


@dataclass(frozen=True, kw_only=True)
class Kill:
    """Send one pod to the baseline from the next step on."""

    pod: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PersistStatus:
    """Write the plan's status now: what follows relies on it."""


@dataclass(frozen=True, kw_only=True)
class EnsureWorkload:
    """Apply Deployment and Services as the spec wants them, server-side, and make the token's Secret."""


@dataclass(frozen=True, kw_only=True)
class SetLabels:
    """Set which Services a pod stands behind. Done when the change is written."""

    pod: str
    baseline: bool
    canary: bool


@dataclass(frozen=True, kw_only=True)
class PutFlags:
    """Put the desired flags of one engine; the same again renews its permit."""

    pod: str
    desired: Desired
    contract: int
    """The one that the engine speaks."""


@dataclass(frozen=True, kw_only=True)
class PatchRoute:
    """Patch the backends of the user's rule: a JSON patch that tests the rule's name and the resource
    version."""

    rule_index: int
    rule: str
    backends: tuple[Backend, ...]
    resource_version: str


@dataclass(frozen=True, kw_only=True)
class RunProbes:
    """Ask this of one pod with and without reuse, in the background; the result comes with a later
    observation. At most one run is under way.
    """

    revision: str
    number: int
    """Of the draw: each is asked once."""
    pod: str
    probe: Probe


@dataclass(frozen=True, kw_only=True)
class Event:
    """A Kubernetes Event on the rollout."""

    type: str
    """Normal or Warning."""
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class DeleteWorkload:
    """Delete our objects."""


@dataclass(frozen=True, kw_only=True)
class ReleaseWorkload:
    """Keep our objects, but no longer as ours (deletionPolicy Retain)."""


@dataclass(frozen=True, kw_only=True)
class RemoveFinalizer:
    """Let the resource go."""


Action = (
    Kill
    | PersistStatus
    | EnsureWorkload
    | SetLabels
    | PutFlags
    | PatchRoute
    | RunProbes
    | Event
    | DeleteWorkload
    | ReleaseWorkload
    | RemoveFinalizer
)


@dataclass(frozen=True, kw_only=True)
class LiveEvidence:
    """Holds how strong the evidence against the pattern is, by one guardrail, for alert rules."""

    guardrail: str
    log_e: float
    """Of the test that speaks most against it, in nats."""
    log_limit: float
    """At which it counts as proven."""


Remembered_co = TypeVar("Remembered_co", covariant=True)
"""The type of what the planner remembers, which it alone reads."""


@dataclass(frozen=True, kw_only=True)
class Plan(Generic[Remembered_co]):
    """Holds what follows from an observation."""

    status: Status
    actions: tuple[Action, ...] = ()
    next_look: timedelta = timedelta(seconds=5)
    """How soon to look again."""
    latest: timedelta = timedelta()
    """How long that can wait at most where there are many rollouts; not longer than `next_look`: it can't."""
    unchanged_for: timedelta = timedelta()
    """For how long the same would follow from looks that see nothing but time pass."""
    evidence: tuple[LiveEvidence, ...] = ()
    """As of this look; empty where nothing is measured."""
    memory: Remembered_co = field(repr=False)
    """Live evidence, handed to the next plan; losing it loses sensitivity for a moment, never correctness."""

"""Defines what operator and engine say to each other, over the engine's control port.

    GET  /v1/state    -> State                    what the engine is and does, and its counters
    PUT  /v1/flags    Desired -> State            what it shall do; the same again renews the permit
    POST /v1/kill     Kill -> State               to the baseline from the next step on; always works

A state has a tag, its ETag; a GET that names it in If-None-Match is answered by 304 while nothing but time
passes. That is no part of the contract's number: whoever knows no tags leaves them out, and asks or answers
in full.

Every call carries `Authorization: Bearer <token>`. Writers are fenced: a PUT names the engine's *incarnation*
(new at every start) and an *epoch*; another incarnation, an older epoch, or the same epoch with other content
is refused with 409 and changes nothing. A kill needs neither. After a kill, a lapsed permit or a breaker an
engine is `tripped`: only a PUT with a newer epoch leads out of it.

Counters are cumulative while an incarnation lives. Measurements belong to a *series*: they start from zero,
under a new series number, whenever the flags that they speak of (pattern, protected, indexer) change, and
with the first flags after an `off` that was PUT: what was measured in one try is never evidence in another.

Both sides are upgraded at different times. An engine speaks CONTRACT alone; an operator speaks it and the one
before, and reads the one after. So a change of what travels raises CONTRACT by one, adds fields with defaults
that mean what was done before, and nothing else: docs/releasing.md says how a field goes, or a value comes.
"""

import secrets
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from indexcache_core import bounds
from indexcache_core.counted import HALF_LIFE as HALF_LIFE
from indexcache_core.counted import Cache as Cache
from indexcache_core.counted import DeviceUse as DeviceUse
from indexcache_core.counted import FastIndexer as FastIndexer
from indexcache_core.counted import Model as Model
from indexcache_core.counted import Requests as Requests
from indexcache_core.counted import Steps as Steps
from indexcache_core.counted import StepTime as StepTime
from indexcache_core.histogram import Histogram
from indexcache_core.pattern import MAX_SITES, Pattern
from indexcache_core.probe_ids import ProbeRun

CONTRACT = 2
CONTROL_PORT = 9470
DECODED_TOKENS = 64
"""Generated tokens of a request, from the first that is measured on, whose rows make its observation of
decoding in a bucket of context length; later ones are shown and not counted.
"""
MAX_BODY = 64 * 1024  # bytes; a larger request is refused with 413

TOKEN_FILE_ENV = "INDEXCACHE_TOKEN_FILE"
PORT_ENV = "INDEXCACHE_CONTROL_PORT"


class Mode(StrEnum):
    """Says what an engine does. `tripped` works as `off`, and needs a newer epoch to leave."""

    OFF = "off"
    SHADOW = "shadow"
    ON = "on"
    TRIPPED = "tripped"


class Work(StrEnum):
    """Says what a query row is computed for."""

    PREFILL = "prefill"
    """A token of the prompt."""
    DECODE = "decode"
    """A token that the engine generated."""


class Reason(StrEnum):
    """Says why an engine is in its mode."""

    STARTED = "Started"
    REQUESTED = "Requested"
    KILLED = "Killed"
    PERMIT_LAPSED = "PermitLapsed"
    BREAKER = "Breaker"
    INTERNAL_ERROR = "InternalError"
    """The runtime itself failed; the engine serves on as vLLM made it, and can't switch reuse until it is
    started again.
    """


class InFlight(StrEnum):
    """Says what becomes of requests in flight that were touched by reuse when an engine leaves mode `on`, for
    whatever reason.
    """

    CONTINUE = "Continue"
    """They go on: what they compute from then on is baseline work on KV that was made under reuse."""
    RECOMPUTE = "Recompute"
    """They are preempted and prefilled again at the baseline. The tokens they generated stay."""


class Indexer(StrEnum):
    """Says what chooses at Full sites in steps under reuse."""

    NATIVE = "Native"
    """vLLM's own kernels."""
    FAST = "Fast"
    """In long prefills the kernel index_topk, in decoding index_topk_decode, which choose the same tokens,
    but for equal scores, in less time and memory; elsewhere vLLM's own.
    """


class Flags(Model):
    """The desired behaviour. `pattern` has one letter for each site; what is protected is Full whatever it
    says.
    """

    mode: Literal[Mode.OFF, Mode.SHADOW, Mode.ON] = Mode.OFF
    pattern: Pattern | None = None
    protected: Annotated[tuple[Annotated[int, bounds.SITES.field()], ...], Field(max_length=MAX_SITES)] = ()
    min_context_tokens: Annotated[int, bounds.CONTEXT_TOKENS.field()] = 0
    """Steps whose longest context is under this run all Full."""
    reach_tokens: Annotated[int, bounds.CONTEXT_TOKENS.field()] | None = None
    """How far reuse reaches: a user's request whose prompt is longer is served all Full, and one whose
    context grows beyond it is from there on, until it ends; so is what is in flight and longer when this is
    lowered. They are measured as in shadow meanwhile. Signed probes are computed as they say, at any length.
    None: it reaches every length.
    """
    sample_rows: Annotated[int, Field(ge=0, le=bounds.SAMPLE_ROWS.most)] = 32
    """Query rows measured a step, at most; 0: nothing is measured."""
    in_flight: InFlight = InFlight.CONTINUE
    indexer: Indexer = Indexer.NATIVE
    """What chooses at Full sites in steps under reuse. Every other step is vLLM's own."""


class Identity(Model):
    """Names on whose behalf an engine works: it becomes labels of metrics, so that an alert can be bound to
    what fired it."""

    namespace: str = ""
    rollout: str = ""
    uid: str = ""
    revision: str = ""


Finite = Annotated[float, Field(allow_inf_nan=False)]


class Thresholds(Model):
    """The guardrails' thresholds, published as metrics for alert rules. None: there is none."""

    overlap: Finite | None = None
    recall: Finite | None = None
    recall_per_indexer: Finite | None = None


GuardrailName = Literal["overlap", "recall", "recall_per_indexer"]
"""A guardrail that an engine can judge by itself: the name of its threshold in Thresholds."""


class Breaker(Model):
    """The engine's own guard: in mode `on` it trips by what this engine measured under reuse in this series,
    whether or not an operator watches.
    """

    alpha: Annotated[float, Field(gt=0, lt=1)]
    """The chance that one series of one engine ever trips although each of these guardrails holds
    (indexcache_core/evidence).
    """
    guardrails: Annotated[tuple[GuardrailName, ...], Field(min_length=1)]
    """Those that may trip it. Each needs a threshold in (0, 1)."""


class Desired(Model):
    """The body of a PUT."""

    incarnation: str
    epoch: Annotated[int, Field(ge=1, le=2**53)]
    flags: Flags
    permit_seconds: Annotated[float, Field(gt=0, le=bounds.PERMIT.most.total_seconds())] | None = None
    """How long `on` may go on without another PUT. Required for mode `on`. The time starts when the PUT
    arrives.
    """
    identity: Identity = Identity()
    thresholds: Thresholds = Thresholds()
    breaker: Breaker | None = None
    """None: the engine has none."""


class Kill(Model):
    """The body of a kill; the reason is kept in the state's message. Whatever else a newer operator says is
    left out.
    """

    model_config = ConfigDict(extra="ignore")

    reason: Annotated[str, Field(max_length=bounds.KILL_REASON)] = ""


class Site(Model):
    """A place with an indexer."""

    index: int
    layer: int
    domain: str
    """Where choices can be compared; the first site of a domain is always Full."""
    k: int
    """Tokens chosen a query row."""


class Series(Model):
    """Measurements of one Shared site, or of the mean over them; of one bucket of context length, one kind of
    work, one mode.

    One observation is one request: the mean over those of its rows that were sampled there. It is counted
    when the request leaves the bucket, its prompt is computed or it ends; of what it generates in a bucket,
    once that was DECODED_TOKENS. Rows whose context holds no more than k tokens don't count.
    """

    site: int | None
    """None: the mean over the Shared sites. Of each request it is the mean over the sites measured for it,
    which are drawn at random where a step doesn't measure all.
    """
    context: int
    """Index of the bucket of context length: see CONTEXT_ENDS_IN_K; the last is open."""
    work: Work
    mode: Literal[Mode.SHADOW, Mode.ON]
    overlap: Histogram = Histogram()
    """|reused & fresh| / |fresh|"""
    recall: Histogram = Histogram()
    """Share of the softmax over the fresh set's index scores that the reused set covers."""


class StepSeries(Model):
    """Measurements of an engine of contract 1, where each step of a request was an observation. No evidence:
    the steps of one request agree with each other."""

    site: int
    context: int
    mode: Literal[Mode.SHADOW, Mode.ON]
    overlap: Histogram = Histogram()
    recall: Histogram = Histogram()


class BreakerTest(Model):
    """The test that is nearest to tripping the breaker, of one guardrail that may."""

    guardrail: GuardrailName
    site: int | None = None
    """None: the mean over the Shared sites."""
    context: int | None = None
    """Index of the bucket of context length; None before any observation."""
    work: Work | None = None
    """None before any observation."""
    log_e: float = 0.0
    """Evidence against the pattern, in nats; it trips at `log_limit`."""
    log_limit: float
    observations: float = 0.0
    mean: float | None = None


class State(Model):
    """Says what an engine is and does."""

    contract: int = CONTRACT
    supported: bool
    reasons: tuple[str, ...] = ()
    """Why not, if not supported; each names what was found, what was expected and what to do."""
    engine: str = "vllm"
    engine_version: str = ""
    runtime_version: str = ""
    architecture: str = ""
    checkpoint: str = ""
    """Tells the weights from others of the same name; empty: not known."""
    sites: tuple[Site, ...] = ()
    indexers: tuple[Indexer, ...] = (Indexer.NATIVE,)
    """Those that the engine has."""
    incarnation: str
    epoch: int = 0
    mode: Mode = Mode.OFF
    reason: Reason = Reason.STARTED
    message: str = ""
    desired: Flags = Flags()
    """The flags last accepted; what the engine does is `mode`."""
    identity: Identity = Identity()
    thresholds: Thresholds = Thresholds()
    """As last accepted."""
    permit_remaining_seconds: float | None = None
    series_number: int = 0
    series: tuple[StepSeries, ...] = ()
    """Empty, but for engines of contract 1."""
    observed: tuple[Series, ...] = ()
    """What was measured in this series."""
    requests: Requests = Requests()
    steps: Steps = Steps()
    cache: Cache = Cache()
    probe_runs: Annotated[tuple[ProbeRun, ...], Field(max_length=bounds.PROBE_RUNS)] | None = None
    """The last sides of pairs of probes, the newest last. None: the engine knows no sides."""
    breaker: tuple[BreakerTest, ...] = ()
    """One for each guardrail that may trip; empty: no breaker."""
    step_seconds: float = 0.0
    """Age of the step now running; a hung engine shows here."""
    prefill_full: StepTime = StepTime()
    """Steps that ran all Full, in whatever mode."""
    prefill_reuse: StepTime = StepTime()
    """Steps with Shared sites."""
    device: DeviceUse = DeviceUse()
    fast_indexer: FastIndexer = FastIndexer()


class Refused(Model):
    """The body of a 4xx: what is wrong, by name."""

    code: Literal[
        "Unauthorized",
        "NotFound",
        "TooLarge",
        "Invalid",
        "Unsupported",
        "OtherIncarnation",
        "OldEpoch",
        "EpochConflict",
        "DoesNotFit",
    ]
    message: str
    field: str = ""


def new_incarnation() -> str:
    """Return a random name for one life of an engine."""
    return secrets.token_hex(8)

"""The spec of an IndexCacheRollout, as users write it. The CRD in crds/ is generated from these types (see
scripts/generate/crd.py).

What a schema or CEL can refuse is refused by the API server; what needs the model, the route or the probes is
refused by the operator, with the field's name (plan/phases/check.py).
"""

from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any

from indexcache_core import bounds
from indexcache_core.contract import Indexer, InFlight
from indexcache_core.pattern import MAX_SITES, Pattern
from pydantic import Field, ValidationInfo, field_validator

from indexcache_operator.api.base import MAX_LENGTH, ApiModel
from indexcache_operator.api.dns import Subdomain
from indexcache_operator.api.times import Duration, Within, default

Threshold = Annotated[float, bounds.THRESHOLD.field()]
Error = Annotated[float, bounds.ERROR.field()]
Argument = Annotated[str, Field(max_length=MAX_LENGTH)]
Text = Annotated[str, Field(min_length=1, max_length=bounds.TEXT)]


class Engine(ApiModel):
    """The engines to deploy."""

    image: Text
    """A vLLM image of a version that is supported; an init container brings the plugin into it."""
    command: Annotated[list[Argument], Field(max_length=16)] = ["vllm", "serve"]
    """What the image starts; the model and the arguments follow it."""
    model: Text
    """A hub name, or a path in the image or a volume."""
    args: Annotated[list[Argument], Field(max_length=128)] = []
    """Arguments of `vllm serve` beside the model; those that reuse doesn't go with are refused by name."""
    replicas: Annotated[int, bounds.REPLICAS.field()] = 1
    """Engines; with a route at least two, as one pod stays at the baseline while one is exposed."""
    port: Annotated[int, bounds.PORT.field()] = 8000
    """Where the engine serves users."""
    runtime: Text | None = None
    """The image that brings the plugin into engines; another is another revision. Without one it is the image
    that the operator came with when the rollout was first deployed (status.runtime).
    """
    resources: dict[str, Any] = {}
    """Of the engine's container, as in a pod: {limits: {nvidia.com/gpu: 8}}."""
    template: dict[str, Any] = {}
    """A pod template, merged strategically: volumes, tolerations, node selector, environment. VLLM_PLUGINS
    set here is extended.
    """


class IndexCache(ApiModel):
    """What is tried."""

    pattern: Pattern
    """One letter an indexer, in execution order: F (Full) or S (Shared)."""
    protected: Annotated[list[Annotated[int, bounds.SITES.field()]], Field(max_length=MAX_SITES)] = []
    """Indexers that are never Shared, whatever the pattern says."""
    min_context_tokens: Annotated[int, bounds.CONTEXT_TOKENS.field()] = 8192
    """Steps whose longest context is under this run all Full."""
    sample_rows: Annotated[int, bounds.SAMPLE_ROWS.field()] = 32
    """Query rows measured a step, at most."""
    indexer: Indexer = Indexer.NATIVE
    """What chooses at Full indexers under reuse: vLLM's own kernels, or Fast, kernels that choose the same in
    less time, in long prefills and in decoding over contexts from 16K tokens on; over shorter ones it
    decodes a little slower. Fast is checked against vLLM's kernels on live rows; an engine in which they
    disagree stops reuse.
    """

    @field_validator("protected")
    @classmethod
    def _inside(cls, protected: list[int], info: ValidationInfo) -> list[int]:
        sites = len(info.data.get("pattern", " " * MAX_SITES))
        outside = sorted(i for i in set(protected) if i >= sites)
        if outside:
            raise ValueError(
                f"found {outside}; expected numbers from 0 to {sites - 1}, as pattern has {sites} letters; "
                "remove those beyond"
            )
        return protected


class Exposure(StrEnum):
    """Where reuse is tried."""

    IN_PLACE = "InPlace"


class Shadow(ApiModel):
    """Before anybody is exposed: measured on live traffic that is served all Full."""

    min_requests: Annotated[int, bounds.REQUESTS.field()] = 200
    """Users' requests that must have been seen before anybody is exposed."""
    timeout: Annotated[Duration, Within(bounds.DEADLINE)] = default("30m")
    """After which it is said that the shadow takes longer; nothing ends by it, as nobody is exposed."""


class Step(ApiModel):
    """One step of the canary. It ends when the evidence certifies it, not when a clock runs out."""

    weight: Annotated[int, bounds.PERCENT.field()]
    """Percent of the traffic."""
    min_duration: Annotated[Duration, Within(bounds.PAUSE)] = default("0s")
    """For so long it lasts at least, from when its weight is seen."""


class Reach(ApiModel):
    """How long a context may be that is served under reuse: only lengths with certificates are."""

    min_share: Annotated[float, bounds.WORK_SHARE.field()] = 0.9
    """Share of the indexers' work, as the last requests ask for it, that certified lengths must hold: by what
    was measured in shadow before anybody is exposed, and by what was measured under reuse before a step ends.
    """


class Strategy(ApiModel):
    """How exposure grows."""

    exposure: Exposure = Exposure.IN_PLACE
    shadow: Shadow = Shadow()
    reach: Reach = Reach()
    steps: Annotated[list[Step], Field(min_length=1, max_length=bounds.STEPS)] = [
        Step(weight=5),
        Step(weight=25),
        Step(weight=50),
    ]
    """Each exposes more users than the one before."""
    progress_deadline: Annotated[Duration, Within(bounds.DEADLINE)] = default("2h")
    """A step that isn't over within this takes the canary back to shadow, unrejected, with all evidence. It
    is exposed again by itself, after a pause that doubles each time.
    """

    @field_validator("steps")
    @classmethod
    def _rising(cls, steps: list[Step]) -> list[Step]:
        weights = [step.weight for step in steps]
        if any(b <= a for a, b in pairwise(weights)):
            raise ValueError(
                f"found weights {weights}; expected each above the one before it; put them in rising order"
            )
        return steps


class HttpRoute(ApiModel):
    """The user's HTTPRoute, in the rollout's namespace."""

    name: Subdomain
    """Its name alone: a route of another namespace can't be named."""
    rule: Subdomain
    """The name of the rule whose backends are weighted; it must name the Service <rollout>-baseline and give
    a request 30 s or more (`timeouts.request`; Envoy Gateway gives 15 s where the rule says nothing, and a
    prefill of 200K tokens takes 21).
    """


class Traffic(ApiModel):
    """Who splits the traffic. Without a route the weight is the share of pods."""

    http_route: HttpRoute | None = None


class Guardrail(ApiModel):
    """A test with a stated error."""

    observe_only: bool = False
    """Show the verdict, act on none."""


class Overlap(Guardrail):
    """Share of a fresh set that the reused set holds."""

    min: Threshold | None = None
    """The mean over the Shared indexers must be above. Without it nothing is judged."""


class Recall(Guardrail):
    """Share of the fresh set's score mass that the reused set covers."""

    min: Threshold | None = None
    """The mean over the Shared indexers must be above. Without it nothing is judged."""
    per_indexer_min: Threshold | None = None
    """The mean of each Shared indexer by itself must be above."""


class ProbeSource(ApiModel):
    """Where probes come from: key `probes.jsonl`, lines of {"prompt", "continuation", "contextTokens"}."""

    config_map: Subdomain
    """Its name alone; it is in the rollout's namespace."""


class Quality(Guardrail):
    """Paired probes: the same prompt with and without reuse, one after the other on one pod."""

    max_logprob_drop: Annotated[float, bounds.LOGPROB_DROP.field()] = 0.02
    """Nats a token of the continuation, in the mean; a drop counts as five times this at most."""
    max_disaster_share: Annotated[float, bounds.DISASTER_SHARE.field()] = 0.02
    """Share of answers that may lose more than five times maxLogprobDrop, which a mean hides. Certified by
    176 answers without one at 0.02, by 354 at 0.01, by 70 at 0.05, with the default confidence.
    """
    max_time_share: Annotated[float, bounds.TIME_SHARE.field()] = 0.1
    """Share of a pod's time that probes may take while the rollout is tried, by what they were seen to take;
    a fifth of it once they are certified. A pod that serves nobody yet is probed all the time.
    """
    probes: ProbeSource


class Guardrails(ApiModel):
    """What must hold. Thresholds belong to a model."""

    overlap: Overlap = Overlap()
    recall: Recall = Recall()
    quality: Quality | None = None
    unguarded: bool = False
    """Expose users though no guardrail on what engines measure acts; refused otherwise. Nothing but alerts,
    quality probes and kills ends reuse then, and the rollout is never called certified.
    """


class Confidence(ApiModel):
    """Bounds on being wrong, over the whole life of a revision."""

    false_rollback: Error = 0.01
    """alpha: the chance that a pattern whose guardrails all hold is ever rolled back by evidence, the
    engines' own breakers included.
    """
    bad_promotion: Error = 0.05
    """beta: the chance that a pattern under a threshold ever passes a step."""


class OnFiring(StrEnum):
    """What an alert bound to the rollout does."""

    ROLLBACK = "Rollback"
    IGNORE = "Ignore"


class Alerts(ApiModel):
    """Alertmanager's webhook."""

    on_firing: OnFiring = OnFiring.ROLLBACK


class Permit(ApiModel):
    """How long reuse goes on when nobody renews it."""

    canary: Annotated[Duration, Within(bounds.PERMIT)] = default("60s")
    """While steps run, and until the promotion is done."""
    promoted: Annotated[Duration, Within(bounds.PERMIT)] = default("12h")
    """After the promotion: long, so that an upgrade of the operator doesn't turn reuse off everywhere."""


class Fallback(ApiModel):
    """The way back."""

    permit: Permit = Permit()
    in_flight: InFlight = InFlight.CONTINUE
    """Requests that were touched by reuse when it ends: they go on as they are, or are prefilled again at the
    baseline.
    """


class DeletionPolicy(StrEnum):
    """What becomes of the engines with the resource. Either way reuse is off and the route restored first."""

    DELETE = "Delete"
    RETAIN = "Retain"


class Spec(ApiModel):
    """An IndexCacheRollout's spec."""

    engine: Engine
    index_cache: IndexCache
    strategy: Strategy = Strategy()
    traffic: Traffic = Traffic()
    guardrails: Guardrails = Guardrails()
    confidence: Confidence = Confidence()
    alerts: Alerts = Alerts()
    fallback: Fallback = Fallback()
    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE
    paused: bool = False
    """Hold: no step begins. Evidence and fallback go on."""

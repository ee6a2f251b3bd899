"""The spec of an IndexCacheRollout, as users write it. The CRD in crds/ is generated from these types (see
scripts/generate/crd.py).

What a schema or CEL can refuse is refused by the API server; what needs the model, the route or the probes is refused by the operator,
with the field's name (plan/check.py).
"""

from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Self

from indexcache_core.contract import InFlight
from indexcache_core.pattern import Pattern
from pydantic import Field, model_validator

from indexcache_operator.api.base import ApiModel
from indexcache_operator.api.dns import Subdomain
from indexcache_operator.api.times import Duration, default

Share = Annotated[float, Field(gt=0, lt=1)]


class Engine(ApiModel):
    """The engines to deploy."""

    image: Annotated[str, Field(min_length=1, max_length=512)]
    command: Annotated[list[str], Field(max_length=16)] = ["vllm", "serve"]
    """What the image starts; the model and the arguments follow it."""
    model: Annotated[str, Field(min_length=1, max_length=512)]
    """A hub name, or a path in the image or a volume."""
    args: Annotated[list[str], Field(max_length=128)] = []
    replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """Where the engine serves users."""
    resources: dict[str, Any] = {}
    template: dict[str, Any] = {}
    """A pod template, merged strategically: volumes, tolerations, node selector, environment. VLLM_PLUGINS set here is extended."""


class IndexCache(ApiModel):
    """What is tried."""

    pattern: Pattern
    """One letter an indexer, in execution order: F (Full) or S (Shared)."""
    protected: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=512)] = []
    """Indexers that are never Shared, whatever the pattern says."""
    min_context_tokens: Annotated[int, Field(ge=0)] = 8192
    """Steps whose longest context is under this run all Full."""
    sample_rows: Annotated[int, Field(ge=1, le=4096)] = 32
    """Query rows measured a step, at most."""


class Exposure(StrEnum):
    """Where reuse is tried."""

    IN_PLACE = "InPlace"


class Shadow(ApiModel):
    """Before anybody is exposed: measured on live traffic that is served all Full."""

    min_requests: Annotated[int, Field(ge=1)] = 200
    timeout: Duration = default("30m")


class Step(ApiModel):
    """One step of the canary. It ends when the evidence certifies it, not when a clock runs out."""

    weight: Annotated[int, Field(ge=1, le=100)]
    """Percent of the traffic."""
    min_duration: Duration = default("0s")


class Strategy(ApiModel):
    """How exposure grows."""

    exposure: Exposure = Exposure.IN_PLACE
    shadow: Shadow = Shadow()
    steps: Annotated[list[Step], Field(min_length=1, max_length=32)] = [Step(weight=5), Step(weight=25), Step(weight=50)]
    progress_deadline: Duration = default("2h")
    """A step that is not certified within this falls back."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        weights = [step.weight for step in self.steps]
        if any(b <= a for a, b in pairwise(weights)):
            raise ValueError(f"steps: weights {weights} don't rise; give each step more than the one before it")
        return self


class HttpRoute(ApiModel):
    """The user's HTTPRoute, in the rollout's namespace."""

    name: Subdomain
    """Its name alone: a route of another namespace can't be named."""
    rule: Subdomain
    """The name of the rule whose backends are weighted; it must name the Service <rollout>-baseline and give a request 30 s or more
    (`timeouts.request`; Envoy Gateway gives 15 s where the rule says nothing, and a prefill of 200K tokens takes 21)."""


class Traffic(ApiModel):
    """Who splits the traffic. Without a route the weight is the share of pods."""

    http_route: HttpRoute | None = None


class Guardrail(ApiModel):
    """A test with a stated error."""

    observe_only: bool = False
    """Show the verdict, act on none."""


class Overlap(Guardrail):
    """Share of a fresh set that the reused set holds."""

    min: Share | None = None


class Recall(Guardrail):
    """Share of the fresh set's score mass that the reused set covers."""

    min: Share | None = None
    """Mean over the Shared indexers."""
    per_indexer_min: Share | None = None


class ProbeSource(ApiModel):
    """Where probes come from: key `probes.jsonl`, lines of {"prompt", "continuation", "contextTokens"}."""

    config_map: Subdomain
    """Its name alone; it is in the rollout's namespace."""


class Quality(Guardrail):
    """Paired probes: the same prompt on a canary and on a baseline pod."""

    max_logprob_drop: Annotated[float, Field(gt=0, le=10)] = 0.02
    """Nats a token of the continuation, in the mean."""
    probes: ProbeSource


class Guardrails(ApiModel):
    """What must hold. Thresholds belong to a model."""

    overlap: Overlap = Overlap()
    recall: Recall = Recall()
    quality: Quality | None = None


class Confidence(ApiModel):
    """Bounds on being wrong, over the whole life of a revision."""

    false_rollback: Share = 0.01
    """alpha: the chance that a pattern whose guardrails all hold is ever rolled back by evidence, the engines' own breakers included."""
    bad_promotion: Share = 0.05
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

    canary: Duration = default("60s")
    promoted: Duration = default("12h")


class Fallback(ApiModel):
    """The way back."""

    permit: Permit = Permit()
    in_flight: InFlight = InFlight.CONTINUE
    """Requests that were touched by reuse when it ends: they go on as they are, or are prefilled again at the baseline."""


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

"""Shadowing: evidence before exposure. All pods measure; all users are served all Full."""

from dataclasses import replace

from indexcache_operator.api import times
from indexcache_operator.api.status import Phase, Status, StepStatus
from indexcache_operator.plan import flags
from indexcache_operator.plan.context import Context, enter, fall_back
from indexcache_operator.plan.exposure import Targets, adopt_route


def decide(c: Context) -> Status:
    """Shadowing -> Shadowing, Canary or FallingBack. A breach was looked for before."""
    look, status, spec = c.look, c.status, c.look.spec
    shadow = spec.strategy.shadow
    certified = c.evidence.certified(without_quality=True)
    enough = c.memory.requests_seen >= shadow.min_requests
    if certified and enough and not spec.paused:
        adopted = adopt_route(look, status)
        if look.routed and adopted.route is None:
            return replace(status, message="Waiting: the route doesn't name the baseline's Service any more")
        return replace(enter(look, adopted, Phase.CANARY, "Exposing step by step, on evidence"), step=first_step(c))
    if not spec.paused and look.since(status.phase_started_at) >= shadow.timeout:
        within = times.text(shadow.timeout)
        if not c.memory.data_at:
            return fall_back(look, status, "NoEvidence", f"nothing was measured in shadow within {within}; nobody was exposed")
        what = "guardrails not certified" if not certified else f"{c.memory.requests_seen} of {shadow.min_requests} requests seen"
        return fall_back(look, status, "ShadowTimeout", f"{what} within {within}; nobody was exposed")
    return status


def first_step(c: Context) -> StepStatus:
    """The canary's first step."""
    return StepStatus(index=0, weight=c.look.spec.strategy.steps[0].weight, started_at=c.look.now)


def targets(c: Context) -> Targets:
    """All pods in shadow, behind the baseline's Service."""
    return Targets(
        kinds={p.name: flags.SHADOW for p in c.look.pods},
        labels={p.name: (True, False) for p in c.look.pods},
    )

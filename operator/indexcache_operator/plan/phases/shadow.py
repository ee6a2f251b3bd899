"""Shadowing: evidence before exposure. All pods measure; all users are served all Full.

It lasts as long as it takes: nobody is exposed, so no deadline ends it. A try whose canary was held is here
again, with all its evidence.
"""

from dataclasses import replace

from indexcache_operator.api import times
from indexcache_operator.api.status import Phase, Status, StepStatus
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.phases.entering import MEASURING, enter
from indexcache_operator.plan.waits.unexposed import held
from indexcache_operator.plan.wanted import flags
from indexcache_operator.plan.wanted.route import adopt_route
from indexcache_operator.plan.wanted.targets import Targets


def decide(situation: Situation) -> Status:
    """Lead from Shadowing to Shadowing or Canary. A breach was looked for before."""
    snapshot, status, spec = situation.snapshot, situation.status, situation.snapshot.spec
    shadow = spec.strategy.shadow
    certified = situation.evidence.certified(without_quality=True)
    enough = situation.memory.requests_seen >= shadow.min_requests
    if certified and enough and not snapshot.paused and held(situation) is None:
        adopted = adopt_route(situation)
        if snapshot.routed and adopted.route is None:
            return replace(status, message="Waiting: the route doesn't name the baseline's Service any more")
        begun = enter(replace(situation, status=adopted), Phase.CANARY, "Exposing step by step, on evidence")
        return replace(begun, step=first_step(situation))
    if snapshot.since(status.phase_started_at) >= shadow.timeout and status.message == MEASURING:
        return replace(status, message=f"{MEASURING}. It takes longer than {times.text(shadow.timeout)}")
    return status


def first_step(situation: Situation) -> StepStatus:
    """Return the canary's first step."""
    return StepStatus(
        index=0, weight=situation.snapshot.spec.strategy.steps[0].weight, started_at=situation.snapshot.now
    )


def targets(situation: Situation) -> Targets:
    """Want all pods in shadow, behind the baseline's Service."""
    return Targets(
        kinds={p.name: flags.SHADOW for p in situation.snapshot.pods},
        labels={p.name: (True, False) for p in situation.snapshot.pods},
    )

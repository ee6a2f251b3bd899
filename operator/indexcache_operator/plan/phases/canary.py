"""Canary: exposure in steps.

A step ends when the engines' counters show its weight, every acting guardrail is certified under reuse, it
has observations of its own, and its minDuration has passed. After spec.strategy.progressDeadline it goes back
to the baseline, and the try is held: no deadline says anything against a pattern.
"""

from dataclasses import replace

from indexcache_core.evidence.traffic import Reached

from indexcache_operator.api import times
from indexcache_operator.api.status import Origin, Phase, Status, StepStatus
from indexcache_operator.plan.facts.guardrails import guarded
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.phases.entering import enter, fall_back, weighted
from indexcache_operator.plan.waits import own, rates
from indexcache_operator.plan.waits.certificates import NOTHING_ACTS
from indexcache_operator.plan.waits.step import waiting
from indexcache_operator.plan.wanted import canary_pods, confirmation, flags, route
from indexcache_operator.plan.wanted.labels import entering_labels
from indexcache_operator.plan.wanted.targets import Targets

LATE = {
    Origin.TRAFFIC: "TooLittleTraffic",
    Origin.PLATFORM: "PlatformNotReady",
    Origin.PATTERN: "Undecided",
}
"""What a step that isn't over by its deadline ends with, by where the cause of its wait lies. What a user
asked for has no deadline.
"""


def decide(situation: Situation) -> Status:
    """Lead from Canary to Canary (this step or the next), Promoting or FallingBack. A breach was looked for
    before.
    """
    snapshot, spec, step = situation.snapshot, situation.snapshot.spec, situation.status.step
    if step is None or step.index >= len(spec.strategy.steps):
        return fall_back(situation, "Superseded", "spec.strategy.steps no longer has the step under way")
    weight = spec.strategy.steps[step.index].weight
    count = canary_pods.canary_count(weight, spec.engine.replicas, snapshot.routed)
    exposed = _exposed(situation, weight, count)
    step = _reached(situation, exposed, replace(step, weight=weight))
    message = _message(exposed, step, count)
    exposed = replace(exposed, status=replace(exposed.status, step=step, message=message))
    if situation.snapshot.paused:
        return exposed.status
    if _over(exposed, step):
        return _next(exposed, step)
    if snapshot.since(step.started_at) >= spec.strategy.progress_deadline:
        return _late(exposed, step)
    return exposed.status


def _late(situation: Situation, step: StepStatus) -> Status:
    """Return the status of a step whose deadline has passed: held, but where it waits for what a user asked
    for, and while it can't be told yet how fast requests come, as after a start of the operator.
    """
    wait = waiting(situation)
    cause = wait.reason if wait == NOTHING_ACTS else LATE.get(wait.origin) if wait else None
    if wait is None or cause is None or not rates.known(situation):
        return situation.status
    within = times.text(situation.snapshot.spec.strategy.progress_deadline)
    message = f"step {step.index + 1} isn't over within {within}: {wait.message}"
    if wait.requests_per_minute_needed is not None:
        message += (
            f"; {wait.requests_per_minute or 0:g} requests a minute came, about "
            f"{wait.requests_per_minute_needed:g} are needed"
        )
    situation = replace(situation, status=replace(situation.status, waiting=wait))
    return fall_back(situation, cause, message)


def _exposed(situation: Situation, weight: int, count: int) -> Situation:
    """Return the situation with the canary's pods chosen and confirmed, and the weight that they justify."""
    chosen = replace(situation.status, canary_pods=canary_pods.choose(situation, count))
    situation = replace(situation, status=chosen)
    situation = replace(situation, status=route.adopt_route(situation))
    situation = replace(situation, status=confirmation.confirm(situation))
    traffic = weighted(situation.status.traffic, confirmation.justified(situation, weight, count))
    return replace(situation, status=replace(situation.status, traffic=traffic))


def _reached(before: Situation, exposed: Situation, step: StepStatus) -> StepStatus:
    """Return the step with when its weight was first seen, if it still is what the pods justify.

    Without a route the engines' own word is what there is.
    """
    desired = exposed.status.traffic.desired
    if desired != step.weight:
        return replace(step, reached_at=None)
    as_wanted = before.seen.reached is Reached.YES and before.status.traffic.desired == desired
    if step.reached_at is None and (exposed.status.route is None or as_wanted):
        return replace(step, reached_at=before.snapshot.now)
    return step


def _over(situation: Situation, step: StepStatus) -> bool:
    least = situation.snapshot.spec.strategy.steps[step.index].min_duration
    lasted = step.reached_at is not None and situation.snapshot.since(step.reached_at) >= least
    certified = lasted and situation.evidence.certified()
    return certified and own.waiting(situation, step) is None


def _next(situation: Situation, step: StepStatus) -> Status:
    steps = situation.snapshot.spec.strategy.steps
    if step.index + 1 == len(steps):
        done = "certified" if guarded(situation.snapshot.spec) else "done, unguarded"
        promoting = enter(situation, Phase.PROMOTING, f"All steps {done}; turning reuse on everywhere")
        return replace(promoting, step=None, hold=None)
    following = StepStatus(
        index=step.index + 1, weight=steps[step.index + 1].weight, started_at=situation.snapshot.now
    )
    return replace(situation.status, step=following, requests_seen=0)


def _message(situation: Situation, step: StepStatus, count: int) -> str:
    snapshot, status = situation.snapshot, situation.status
    where = f"Step {step.index + 1} of {len(snapshot.spec.strategy.steps)}, {step.weight} %"
    if snapshot.paused:
        return f"{where}: paused by {snapshot.paused}"
    if status.traffic.desired < step.weight:
        busy = [
            p.name
            for p in snapshot.pods
            if p.name in status.canary_pods and not confirmation.may_reuse(situation, p)
        ]
        waiting = "waiting until all confirm reuse"
        if busy:
            waiting = f"waiting until no user's request comes to {', '.join(busy)} any more"
        chosen = f"{len(status.canary_pods)} of {count} pods chosen"
        return f"{where}: {chosen}, {waiting}; {status.traffic.desired} % for now"
    if step.reached_at is None:
        return f"{where}: waiting until the engines' counters show it"
    return f"{where}: collecting evidence"


def targets(situation: Situation) -> Targets:
    """Want the canary's pods under reuse, the others in shadow, and the route as far as the confirmed pods
    justify.
    """
    snapshot, status = situation.snapshot, situation.status
    reusing = {
        p.name for p in snapshot.pods if p.name in status.canary_pods and confirmation.may_reuse(situation, p)
    }
    return Targets(
        kinds={p.name: flags.ON_CANARY_PERMIT if p.name in reusing else flags.SHADOW for p in snapshot.pods},
        labels=entering_labels(situation),
        backends=route.backends(situation, status.traffic.desired) if _safe(situation) else None,
    )


def _safe(situation: Situation) -> bool:
    """Return whether the list to be written leaves each Service it names a ready pod."""
    if situation.status.traffic.desired <= 0:
        return True
    return any(p.canary_label for p in situation.snapshot.ready if p.name in situation.status.canary_pods)

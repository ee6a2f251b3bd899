"""Canary: exposure in steps.

A step ends when the engines' counters show its weight, every acting guardrail is certified under reuse, and its minDuration has passed; a
clock alone never ends it but by falling back.
"""

from dataclasses import replace

from indexcache_core.evidence.traffic import Reached

from indexcache_operator.api import times
from indexcache_operator.api.status import Phase, Status, StepStatus
from indexcache_operator.plan import exposure, flags
from indexcache_operator.plan.context import Context, enter, fall_back, weighted
from indexcache_operator.plan.exposure import Targets


def decide(c: Context) -> Status:
    """Canary -> Canary (this step or the next), Promoting or FallingBack. A breach was looked for before."""
    look, spec, status = c.look, c.look.spec, c.status
    step = status.step
    if step is None or step.index >= len(spec.strategy.steps):
        return fall_back(look, status, "Superseded", "spec.strategy.steps no longer has the step under way")
    weight = spec.strategy.steps[step.index].weight
    count = exposure.canary_count(weight, spec.engine.replicas, look.routed)
    status = replace(status, canary_pods=exposure.choose(look, status, count))
    status = exposure.confirm(look, exposure.adopt_route(look, status), c.memory)
    justified = exposure.justified(look, status, c.memory, weight, count)
    status = replace(status, traffic=weighted(status.traffic, justified))
    step = replace(step, weight=weight, reached_at=step.reached_at if justified == weight else None)
    if step.reached_at is None and justified == weight and _reached(c, status):
        step = replace(step, reached_at=look.now)
    status = replace(status, step=step, message=_message(c, status, step, justified, count))
    if spec.paused:
        return status
    if _over(c, step):
        return _next(c, status, step)
    if look.since(step.started_at) >= spec.strategy.progress_deadline:
        missing = "the weight was never seen in the engines' counters" if step.reached_at is None else "guardrails not certified"
        within = times.text(spec.strategy.progress_deadline)
        return fall_back(look, status, "ProgressDeadlineExceeded", f"step {step.index + 1}: {missing} within {within}")
    return status


def _reached(c: Context, status: Status) -> bool:
    """Whether traffic is seen to be split as the step wants; without a route the engines' own word is what there is."""
    if status.route is None:
        return True
    return c.seen.reached is Reached.YES and c.status.traffic.desired == status.traffic.desired


def _over(c: Context, step: StepStatus) -> bool:
    least = c.look.spec.strategy.steps[step.index].min_duration
    lasted = step.reached_at is not None and c.look.since(step.reached_at) >= least
    return lasted and c.evidence.certified()


def _next(c: Context, status: Status, step: StepStatus) -> Status:
    steps = c.look.spec.strategy.steps
    if step.index + 1 == len(steps):
        promoting = enter(c.look, status, Phase.PROMOTING, "All steps certified; turning reuse on everywhere")
        return replace(promoting, step=None)
    following = StepStatus(index=step.index + 1, weight=steps[step.index + 1].weight, started_at=c.look.now)
    return replace(status, step=following, requests_seen=0)


def _message(c: Context, status: Status, step: StepStatus, justified: int, count: int) -> str:
    where = f"Step {step.index + 1} of {len(c.look.spec.strategy.steps)}, {step.weight} %"
    if c.look.spec.paused:
        return f"{where}: paused by spec.paused"
    if justified < step.weight:
        busy = [p.name for p in c.look.pods if p.name in status.canary_pods and not exposure.left(c.look, status, c.memory, p)]
        waiting = f"waiting until no user's request comes to {', '.join(busy)} any more" if busy else "waiting until all confirm reuse"
        return f"{where}: {len(status.canary_pods)} of {count} pods chosen, {waiting}; {justified} % for now"
    if step.reached_at is None:
        return f"{where}: waiting until the engines' counters show it"
    return f"{where}: collecting evidence"


def targets(c: Context) -> Targets:
    """The canary's pods under reuse, the others measure in shadow; the route as far as the confirmed pods justify."""
    leaving = {p.name for p in c.look.pods if p.name in c.status.canary_pods and exposure.left(c.look, c.status, c.memory, p)}
    return Targets(
        kinds={p.name: flags.CANARY if p.name in leaving else flags.SHADOW for p in c.look.pods},
        labels=exposure.entering_labels(c.look, c.status, c.memory),
        backends=exposure.backends(c.look, c.status, c.status.traffic.desired) if _safe(c) else None,
    )


def _safe(c: Context) -> bool:
    """Whether the list to be written leaves each Service it names a ready pod."""
    if c.status.traffic.desired <= 0:
        return True
    return any(p.canary_label for p in c.look.ready if p.name in c.status.canary_pods)

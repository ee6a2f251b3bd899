"""Conditions, as Kubernetes' conventions and kstatus read them.

Ready when a try has come to a good end, Reconciling while it runs, Stalled when only a change by somebody leads on. The time of a condition
changes only with its status.
"""

from datetime import timedelta

from indexcache_core.contract import Mode
from indexcache_core.evidence.traffic import Reached

from indexcache_operator.api.status import Condition, ConditionStatus, Phase
from indexcache_operator.plan.context import Context
from indexcache_operator.plan.look import may_be_on, pod_status

FRESH = timedelta(seconds=60)
MEASURING = frozenset({Phase.SHADOWING, Phase.CANARY, Phase.PROMOTING, Phase.PROMOTED})
Row = tuple[str, ConditionStatus, str, str]
"""Type, status, reason, message."""


def conditions(c: Context) -> tuple[Condition, ...]:
    """All of them, in a fixed order."""
    old = {condition.type: condition for condition in c.status.conditions}
    out = []
    for type_, status, reason, message in (_ready(c), _reconciling(c), _stalled(c), _paused(c), _baseline(c), _traffic(c), _fresh(c)):
        before = old.get(type_)
        since = before.last_transition_time if before and before.status == status else None
        out.append(
            Condition(
                type=type_,
                status=status,
                reason=reason,
                message=message,
                last_transition_time=since or c.look.now,
                observed_generation=c.look.o.generation,
            )
        )
    return tuple(out)


def _stopped(c: Context) -> bool:
    return c.status.phase in (Phase.FELL_BACK, Phase.FAILED)


def _why(c: Context) -> str:
    if c.status.phase is Phase.FELL_BACK and c.status.fallback:
        return c.status.fallback.cause
    return c.status.phase.value


def _ready(c: Context) -> Row:
    return ("Ready", "True" if c.status.phase is Phase.PROMOTED else "False", _why(c), c.status.message)


def _reconciling(c: Context) -> Row:
    running = not _stopped(c) and c.status.phase is not Phase.PROMOTED
    return ("Reconciling", "True" if running else "False", c.status.phase.value, c.status.message if running else "")


def _stalled(c: Context) -> Row:
    return ("Stalled", "True", _why(c), c.status.message) if _stopped(c) else ("Stalled", "False", c.status.phase.value, "")


def _paused(c: Context) -> Row:
    paused = c.look.o.spec is not None and c.look.o.spec.paused
    return ("Paused", "True", "Requested", "spec.paused: no step begins") if paused else ("Paused", "False", "NotRequested", "")


def _baseline(c: Context) -> Row:
    on = [p.name for p in c.look.o.pods if p.state and p.state.mode is Mode.ON]
    if on:
        return ("BaselineActive", "False", "ReuseOn", f"reuse runs on {', '.join(on)}")
    since = c.look.since(c.status.fallback.since) if c.status.fallback else timedelta()
    unknown = [p.name for p in c.look.o.pods if p.state is None and may_be_on(p, pod_status(c.status, p.name), since)]
    if unknown:
        return ("BaselineActive", "Unknown", "Unreachable", f"{', '.join(unknown)} can't be asked; reuse there ends with its permit")
    return ("BaselineActive", "True", "ReuseOff", "no engine runs reuse")


def _traffic(c: Context) -> Row:
    traffic = c.status.traffic
    if c.status.route is None and traffic.verified_generation is None:
        return ("TrafficVerified", "Unknown", "NoCanary", "no traffic was given to a canary")
    if traffic.verified_generation is not None:
        return ("TrafficVerified", "True", "SeenByEngines", f"the engines' counters show {traffic.desired} %")
    if c.seen.reached is Reached.NO or (traffic.observed is not None and traffic.observed != traffic.desired):
        return ("TrafficVerified", "False", "NotAsRouted", f"{traffic.desired} % wanted, the engines' counters show otherwise")
    return ("TrafficVerified", "Unknown", "TooFewRequests", f"the engines' counters don't tell {traffic.desired} % yet")


def _fresh(c: Context) -> Row:
    if c.status.phase not in MEASURING:
        return ("EvidenceFresh", "Unknown", "NotMeasuring", "")
    if c.memory.data_at and c.look.since(c.memory.data_at) <= FRESH:
        return ("EvidenceFresh", "True", "Measuring", "")
    return ("EvidenceFresh", "False", "NoNewData", f"nothing was measured for {FRESH.total_seconds():g} s")

"""Conditions, as Kubernetes' conventions and kstatus read them.

Ready when a try has come to a good end, Reconciling while it runs, Stalled when only a change by somebody
leads on. The time of a condition changes only with its status.
"""

from datetime import timedelta

from indexcache_core.evidence.traffic import Reached

from indexcache_operator.api.status import Condition, ConditionStatus, Phase
from indexcache_operator.names import OPERATOR_HEALTHY
from indexcache_operator.plan.facts import measuring
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import may_be_on, pod_status
from indexcache_operator.plan.report import columns, commands, silence
from indexcache_operator.plan.waits import own

FRESH = timedelta(seconds=60)
MEASURING = frozenset({Phase.SHADOWING, Phase.CANARY, Phase.PROMOTING, Phase.PROMOTED})
Row = tuple[str, ConditionStatus, str, str]
"""Type, status, reason, message."""


def conditions(situation: Situation) -> tuple[Condition, ...]:
    """Return all conditions, in a fixed order."""
    old = {kept.type: kept for kept in situation.status.conditions}
    out = []
    for condition in (
        _ready,
        _reconciling,
        _stalled,
        _paused,
        _waiting,
        _engines,
        _baseline,
        _traffic,
        _fresh,
        _healthy,
        _commands,
        _runtime,
    ):
        type_, status, reason, message = condition(situation)
        before = old.get(type_)
        since = before.last_transition_time if before and before.status == status else None
        out.append(
            Condition(
                type=type_,
                status=status,
                reason=reason,
                message=message,
                last_transition_time=since or situation.snapshot.now,
                observed_generation=situation.snapshot.observation.generation,
            )
        )
    return tuple(out)


def _stopped(situation: Situation) -> bool:
    return situation.status.phase in (Phase.FELL_BACK, Phase.FAILED)


def _why(situation: Situation) -> str:
    if situation.status.phase is Phase.FELL_BACK and situation.status.fallback:
        return situation.status.fallback.cause
    return situation.status.phase.value


def _ready(situation: Situation) -> Row:
    status = situation.status
    if status.phase is not Phase.PROMOTED:
        return ("Ready", "False", _why(situation), status.message)
    reaches = status.reach.message if status.reach else ""
    return ("Ready", "True", _why(situation), "; ".join(filter(None, (status.message, reaches))))


def _reconciling(situation: Situation) -> Row:
    running = not _stopped(situation) and situation.status.phase is not Phase.PROMOTED
    return (
        "Reconciling",
        "True" if running else "False",
        situation.status.phase.value,
        situation.status.message if running else "",
    )


def _stalled(situation: Situation) -> Row:
    if _stopped(situation):
        return ("Stalled", "True", _why(situation), situation.status.message)
    return ("Stalled", "False", situation.status.phase.value, "")


def _paused(situation: Situation) -> Row:
    paused = situation.snapshot.paused
    if situation.snapshot.observation.unknown_fields:
        return ("Paused", "True", "UnknownFields", f"no step begins: {paused}")
    return (
        ("Paused", "True", "Requested", "spec.paused: no step begins")
        if paused
        else ("Paused", "False", "NotRequested", "")
    )


def _waiting(situation: Situation) -> Row:
    wait = situation.status.waiting
    if wait is None:
        return ("Waiting", "False", "NothingAwaited", "")
    rate = ""
    if wait.requests_per_minute_needed is not None:
        came = "unknown" if wait.requests_per_minute is None else f"{wait.requests_per_minute:g}"
        rate = f"; {came} requests a minute come, about {wait.requests_per_minute_needed:g} would be needed"
    way_out = f". {wait.way_out[0].upper()}{wait.way_out[1:]}" if wait.way_out else ""
    message = f"{wait.origin.value}: {wait.message}{rate}{way_out}"
    return ("Waiting", "True", wait.reason, message)


def _engines(situation: Situation) -> Row:
    """Tell of pods that hang for a while, or don't serve: reuse goes on there for as long as its permit
    lasts.
    """
    if not situation.snapshot.pods:
        return ("EnginesAnswer", "Unknown", "NoPods", "")
    found = columns.silent(situation)
    if found:
        return ("EnginesAnswer", "False", "SomeDont", found)
    return ("EnginesAnswer", "True", "AllDo", "")


def _baseline(situation: Situation) -> Row:
    on = [p.name for p in situation.snapshot.observation.pods if silence.is_on(situation, p)]
    if on:
        return ("BaselineActive", "False", "ReuseOn", f"reuse runs on {', '.join(on)}")
    since = (
        situation.snapshot.since(situation.status.fallback.since)
        if situation.status.fallback
        else timedelta()
    )
    unknown = [
        p.name
        for p in situation.snapshot.observation.pods
        if p.state is None and may_be_on(p, pod_status(situation.status, p.name), since)
    ]
    if unknown:
        return (
            "BaselineActive",
            "Unknown",
            "Unreachable",
            f"{', '.join(unknown)} can't be asked; reuse there ends with its permit",
        )
    return ("BaselineActive", "True", "ReuseOff", "no engine runs reuse")


def _healthy(situation: Situation) -> Row:
    """Tell whether the operator sees all that it decides on; turns that fail altogether write this condition
    themselves.
    """
    unread = situation.snapshot.observation.unread
    if unread:
        return (
            OPERATOR_HEALTHY,
            "False",
            "ReadsFailed",
            f"can't be read, and counts as unknown: {'; '.join(unread)}",
        )
    return (OPERATOR_HEALTHY, "True", "LooksSucceed", "")


def _traffic(situation: Situation) -> Row:
    traffic = situation.status.traffic
    if situation.status.route is None and traffic.verified_generation is None:
        return ("TrafficVerified", "Unknown", "NoCanary", "no traffic was given to a canary")
    if traffic.verified_generation is not None:
        return ("TrafficVerified", "True", "SeenByEngines", f"the engines' counters show {traffic.desired} %")
    if situation.seen.reached is Reached.NO or (
        traffic.observed is not None and traffic.observed != traffic.desired
    ):
        return (
            "TrafficVerified",
            "False",
            "NotAsRouted",
            f"{traffic.desired} % wanted, the engines' counters show otherwise",
        )
    return (
        "TrafficVerified",
        "Unknown",
        "TooFewRequests",
        f"the engines' counters don't tell {traffic.desired} % yet",
    )


def _fresh(situation: Situation) -> Row:
    """Tell by requests whether measuring goes on: without any nothing is known, and nobody exposed."""
    if situation.status.phase not in MEASURING:
        return ("EvidenceFresh", "Unknown", "NotMeasuring", "")
    came = measuring.unmeasured(situation.snapshot, situation.status)
    silent = ", ".join(name for name, requests in came if requests >= own.SHOULD)
    if silent and situation.evidence.measured:
        said = f"{silent} measured nothing of {own.SHOULD} requests under reuse and more that are long enough"
        return ("EvidenceFresh", "False", "NothingMeasured", said)
    if situation.memory.data_at and situation.snapshot.since(situation.memory.data_at) <= FRESH:
        return ("EvidenceFresh", "True", "Measuring", "")
    return ("EvidenceFresh", "Unknown", "NoNewData", f"nothing was measured for {FRESH.total_seconds():g} s")


def _commands(situation: Situation) -> Row:
    found = commands.ignored(situation)
    return (commands.CONDITION, "False", *found) if found else (commands.CONDITION, "True", "NoneIgnored", "")


def _runtime(situation: Situation) -> Row:
    """Tell whether engines get the plugin that this operator came with."""
    seen = situation.snapshot.observation
    asked = seen.spec.engine.runtime if seen.spec else None
    used, offered = asked or situation.status.runtime, seen.offered_runtime
    if not used or not offered:
        return ("RuntimeCurrent", "Unknown", "NotKnown", "")
    if used == offered:
        return ("RuntimeCurrent", "True", "AsOffered", f"engines get the plugin from {used}")
    return (
        "RuntimeCurrent",
        "False",
        "OtherOffered",
        f"engines get the plugin from {used}, this operator comes with {offered}; set spec.engine.runtime to "
        "it to try it, as another revision",
    )

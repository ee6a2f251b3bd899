"""Tells what a step of the canary waits for: its pods, its weight, its certificates, or its own time."""

import math
from dataclasses import replace

from indexcache_core.evidence import traffic
from indexcache_core.evidence.traffic import Reached

from indexcache_operator.api import times
from indexcache_operator.api.status import Origin, StepStatus, WaitStatus
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts import reach
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import route_accepted
from indexcache_operator.plan.waits import certificates, own, rates, words
from indexcache_operator.plan.waits.common import paused, trouble
from indexcache_operator.plan.wanted import canary_pods, confirmation, flags

HALF_EVEN = 0.5
"""Of an even share: see traffic/draining.py."""
PLENTY = 3
"""Times as many requests as it takes: then it isn't traffic that is missing."""


def waiting(situation: Situation) -> WaitStatus | None:
    """Return what the step waits for; None where it is over."""
    by_user, step = paused(situation), situation.status.step
    if by_user or step is None:
        return by_user
    return (
        _pods(situation, step)
        or _weight(situation, step)
        or _evidence(situation)
        or own.waiting(situation, step)
        or _duration(situation, step)
    )


def _evidence(situation: Situation) -> WaitStatus | None:
    return None if situation.evidence.certified() else certificates.waiting(situation)


def _duration(situation: Situation, step: StepStatus) -> WaitStatus | None:
    least = situation.snapshot.spec.strategy.steps[step.index].min_duration
    assert step.reached_at is not None
    if situation.snapshot.since(step.reached_at) >= least:
        return None
    until = times.stamp(step.reached_at + least)
    return WaitStatus(
        origin=Origin.USER,
        reason="MinDuration",
        message=f"nothing but minDuration, which ends at {until}",
        expected=words.about((least - situation.snapshot.since(step.reached_at)).total_seconds() / 60),
        way_out=f"shorten minDuration of step {step.index + 1}",
    )


# ------------------------------------------------------------------------------------------------------------
# Pods.


def _pods(situation: Situation, step: StepStatus) -> WaitStatus | None:
    snapshot, status = situation.snapshot, situation.status
    if status.traffic.desired >= step.weight:
        return None
    count = canary_pods.canary_count(step.weight, snapshot.spec.engine.replicas, snapshot.routed)
    chosen = [p for p in snapshot.pods if p.name in status.canary_pods]
    unwell = [p for p in (chosen if len(chosen) >= count else snapshot.pods) if trouble(p)]
    if unwell or len(chosen) < count:
        named = "; ".join(trouble(p) for p in unwell)
        missing = f"{len(chosen)} of {count} pods can be exposed" if len(chosen) < count else ""
        return WaitStatus(
            origin=Origin.PLATFORM,
            reason="PodsNotReady",
            message="; ".join(filter(None, (named, missing))),
            way_out="kubectl describe pod says what keeps it from serving",
        )
    busy = [p for p in chosen if not confirmation.may_reuse(situation, p)]
    if busy:
        return _draining(situation, busy)
    return _unconfirmed(situation, [p for p in chosen if not confirmation.confirmed(situation, p)])


def _unconfirmed(situation: Situation, late: list[EnginePod]) -> WaitStatus:
    names = ", ".join(p.name for p in late) or "the route"
    wait = WaitStatus(
        origin=Origin.PLATFORM,
        reason="ReuseNotConfirmed",
        message=f"{names}: reuse isn't confirmed yet",
        way_out="look at status.pods for what the engines say",
    )
    deaf = [p.name for p in late if not flags.knows_reach(p, reach.of_pod(situation.status, p.name))]
    if deaf:
        message = f"{', '.join(deaf)}: its plugin is of a release that can't be told how far reuse may reach"
        way_out = "set spec.engine.runtime to this release's plugin"
        return replace(wait, reason="PluginTooOld", message=message, way_out=way_out)
    if situation.snapshot.spec.guardrails.quality is None:
        return wait
    if any(p.state is not None and p.state.probe_runs is None for p in late):
        message = f"{names}: its plugin is of a release that doesn't tell how a probe was computed"
        way_out = "set spec.engine.runtime to this release's plugin, or take quality out of spec.guardrails"
        return replace(wait, reason="PluginTooOld", message=message, way_out=way_out)
    found = certificates.of_probes(situation)
    if found is None:
        return replace(wait, message=f"{names}: reuse isn't confirmed yet by a first probe")
    return replace(found, message=f"{names} serves nobody yet: {found.message}")


def _draining(situation: Situation, busy: list[EnginePod]) -> WaitStatus:
    names = ", ".join(p.name for p in busy)
    running = sum(p.state.requests.running_baseline + p.state.requests.running_reuse for p in busy if p.state)
    share = HALF_EVEN / max(len(situation.snapshot.ready), 1)
    telling = math.ceil(math.log(traffic.DELTA / 2) / math.log1p(-share))
    came = rates.requests_here(situation)
    if running and came < PLENTY * telling:
        message = f"{names}: {running} requests that run there end first"
        return _few(situation, "PodsDraining", message, telling)
    if came >= PLENTY * telling:
        return WaitStatus(
            origin=Origin.PLATFORM,
            reason="PodsDraining",
            message=f"{names}: requests still come there, past the baseline's Service",
            requests_per_minute=rates.requests_per_minute(situation),
            way_out="look who sends to the pod itself, or whether the gateway knows of its labels",
        )
    message = f"{names}: about {max(telling - came, 1)} more requests show that none comes there"
    return _few(situation, "PodsDraining", message, telling)


# ------------------------------------------------------------------------------------------------------------
# Weight.


def _weight(situation: Situation, step: StepStatus) -> WaitStatus | None:
    if step.reached_at is not None:
        return None
    now, seen = situation.status.traffic, situation.seen
    telling = traffic.requests_needed(now.previous / 100, now.desired / 100)
    came = rates.requests_here(situation)
    if not route_accepted(situation.snapshot):
        return _misrouted(situation, "RouteNotAccepted", "no gateway has accepted the route's generation")
    if seen.reached is Reached.NO:
        found = f", about {seen.percent} % was seen" if seen.percent is not None else ""
        return _misrouted(situation, "WeightNotSeen", f"requests don't come by weight {step.weight}{found}")
    if came >= PLENTY * telling + certificates.TELLING:
        message = f"weight {step.weight} isn't seen, though {came} requests came"
        return _misrouted(situation, "WeightNotSeen", message)
    message = f"about {max(telling - seen.requests, 1)} more requests tell whether weight {step.weight} holds"
    return _few(situation, "WeightNotSeen", message, telling)


def _misrouted(situation: Situation, reason: str, message: str) -> WaitStatus:
    return WaitStatus(
        origin=Origin.PLATFORM,
        reason=reason,
        message=message,
        requests_per_minute=rates.requests_per_minute(situation),
        way_out="look whether the gateway follows the route, whether somebody else writes it, and who else "
        "sends to the canary's Service",
    )


def _few(situation: Situation, reason: str, message: str, telling: int) -> WaitStatus:
    """Return the wait for so many requests that tell; after them the certificates want theirs."""
    within = situation.snapshot.spec.strategy.progress_deadline
    evidence = _evidence(situation)
    later = (evidence.requests_per_minute_needed if evidence else None) or 0.0
    needed = rates.rate_for(telling, within, per_minute=None, requests=None, weight=100) + later
    return WaitStatus(
        origin=Origin.TRAFFIC,
        reason=reason,
        message=message,
        requests_per_minute=rates.requests_per_minute(situation),
        requests_per_minute_needed=words.two_digits(needed),
        way_out="nothing need be done: it is told by the requests that come",
    )

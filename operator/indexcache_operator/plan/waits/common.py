"""Tells what shadow and canary may both wait for, and what is wrong with a pod."""

from indexcache_operator.api.status import Origin, WaitStatus
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts.situation import Situation


def paused(situation: Situation) -> WaitStatus | None:
    """Return that somebody holds the rollout up; None where nobody does."""
    by = situation.snapshot.paused
    if not by:
        return None
    unknown = bool(situation.snapshot.observation.unknown_fields)
    return WaitStatus(
        origin=Origin.USER,
        reason="UnknownFields" if unknown else "Paused",
        message="paused" if not unknown else f"paused: {by}",
        way_out="" if unknown else "set spec.paused to false",
    )


def trouble(pod: EnginePod) -> str:
    """Return what is wrong with a pod; empty if nothing is."""
    if not pod.ready:
        return f"pod {pod.name} isn't ready" + (f": {pod.problem}" if pod.problem else "")
    if pod.state is None:
        return f"pod {pod.name} can't be asked" + (f": {pod.error}" if pod.error else "")
    return ""

"""Decides what ends a try from outside its own phase, in order of rank.

A deletion and an intent that was written down end it in any phase that has something to end. While engines
have been told something (ENGAGED), so do the kill annotation, a spec that can't be read, a change of what is
asked or of the route, a status that is another rollout's, a route that another has, another checkpoint under
the model's name, an engine that was stopped, a breach, and an engine under reuse that stopped measuring.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from indexcache_core.contract import Mode, Reason
from indexcache_core.evidence import guardrails as judged
from indexcache_core.evidence import quality
from indexcache_core.evidence.freshness import MEASURED_SHARE
from indexcache_core.evidence.verdict import log_limit

from indexcache_operator.api.status import Phase, Status
from indexcache_operator.plan.evidence import judgements
from indexcache_operator.plan.facts import checkpoint, measuring, reach, revision
from indexcache_operator.plan.facts.memory import TestKey
from indexcache_operator.plan.facts.situation import Answer, Situation
from indexcache_operator.plan.facts.snapshot import OFF, pod_status, wants_on
from indexcache_operator.plan.phases.entering import fall_back

ENGAGED = frozenset({Phase.SHADOWING, Phase.CANARY, Phase.PROMOTING, Phase.PROMOTED})
"""Phases in which engines have been told something."""
CAUSES = {
    "overlap": "OverlapBelowThreshold",
    "recall": "RecallBelowThreshold",
    "recall_per_indexer": "RecallBelowThreshold",
    "quality": "QualityBelowThreshold",
    "disasters": "QualityBelowThreshold",
}


class Cause(NamedTuple):
    """Says why a try ends."""

    name: str
    message: str


def apply(situation: Situation) -> Status | None:
    """Return the status of a fallback that begins now; None if nothing calls for one."""
    engaged = situation.status.phase in ENGAGED
    for trigger in (*ALWAYS, *(WHILE_ENGAGED if engaged else ())):
        cause = trigger(situation)
        if cause is not None:
            return fall_back(situation, *cause)
    return None


def stale(status: Status) -> Status:
    """Return the status without an intent that speaks of another revision: an old alert must not end a new
    try.
    """
    intent = status.fallback
    if intent is not None and status.revision and intent.revision != status.revision:
        return replace(status, fallback=None)
    return status


def _deleted(situation: Situation) -> Cause | None:
    return (
        Cause("Deleted", "the rollout is being deleted") if situation.snapshot.observation.deleting else None
    )


def _intended(situation: Situation) -> Cause | None:
    """Look for an intent that was written down, by an alert or before a crash."""
    intent, status = situation.status.fallback, situation.status
    if intent is None or intent.revision != status.revision or status.phase not in ENGAGED | {Phase.CHECKING}:
        return None
    return Cause(intent.cause, intent.message)


def _killed_by_annotation(situation: Situation) -> Cause | None:
    name = situation.status.revision
    if not revision.killed(situation.snapshot.observation.annotations, name):
        return None
    return Cause("Killed", f"annotation {revision.KILL} stops revision {name}")


def _unreadable(situation: Situation) -> Cause | None:
    seen = situation.snapshot.observation
    return Cause("InvalidSpec", seen.spec_problem or "the spec can't be read") if seen.spec is None else None


def _superseded(situation: Situation) -> Cause | None:
    wanted, tried = situation.snapshot.wanted_revision, situation.status.revision
    if wanted == tried:
        return None
    return Cause("Superseded", f"the spec asks for revision {wanted}, {tried} ends")


def _restored(situation: Situation) -> Cause | None:
    """Look for a status that was written of another object, as a backup brings it back."""
    wrote, here = situation.status.uid, situation.snapshot.observation.uid
    if wrote in ("", here):
        return None
    return Cause(
        "Restored",
        f"the status speaks of a rollout with uid {wrote}, this one has {here}; what was shown then is no "
        "evidence here, so it is tried anew",
    )


def _route_changed(situation: Situation) -> Cause | None:
    where, kept = situation.snapshot.spec.traffic.http_route, situation.status.route
    if kept is None or (where is not None and (where.name, where.rule) == (kept.name, kept.rule)):
        return None
    return Cause("RouteChanged", f"spec.traffic.httpRoute no longer names rule {kept.rule} of {kept.name}")


def _route_taken(situation: Situation) -> Cause | None:
    holder = situation.snapshot.observation.route_holder
    if holder is None or situation.status.route is None:
        return None
    kept = situation.status.route
    return Cause(
        "RouteTaken", f"rule {kept.rule} of HTTPRoute {kept.name} is rollout {holder}'s, which had it first"
    )


def _checkpoint_replaced(situation: Situation) -> Cause | None:
    found = checkpoint.replaced(situation.snapshot, situation.status)
    return Cause("CheckpointReplaced", found) if found else None


def _engine_stopped(situation: Situation) -> Cause | None:
    """Look for an engine that was stopped by somebody else, by its own breaker, or by a failure of the
    runtime in it.

    A lapsed permit is no cause: the operator was away. After a failure of the runtime an engine takes no
    flags but `off`, whatever their epoch.
    """
    for pod in situation.snapshot.observation.pods:
        kept = pod_status(situation.status, pod.name)
        if pod.state is None or pod.state.mode is not Mode.TRIPPED:
            continue
        if pod.state.reason is Reason.INTERNAL_ERROR and kept.desired != OFF:
            return Cause("EngineFailed", f"pod {pod.name}: {pod.state.message}")
        if not wants_on(kept.desired) or pod.state.epoch < kept.epoch:
            continue
        if pod.state.reason is Reason.BREAKER:
            said = pod.state.message or "its own breaker stopped reuse"
            return Cause("EngineBreaker", f"pod {pod.name}: {said}")
        if pod.state.reason is Reason.KILLED:
            return _killed_for(situation.status.revision, pod.name, pod.state.message)
    return None


def _breached(situation: Situation) -> Cause | None:
    """Look for evidence against contexts that some pod may serve under reuse, or against so many others that
    the rest is too little.
    """
    breach = situation.evidence.breach(reach.granted(situation.status))
    if breach is None:
        return _too_little_left(situation)
    answer, test = breach
    return Cause(CAUSES[answer.guardrail.name], breach_message(situation, answer, test))


def _measuring_stopped(situation: Situation) -> Cause | None:
    """Look for an engine that serves users under reuse and measures nothing of it any more."""
    if situation.status.phase not in reach.EXPOSED or not situation.evidence.measured:
        return None
    found = measuring.stopped(situation.snapshot, situation.status)
    if found is None:
        return None
    pod, came = found
    return Cause(
        "MeasuringStopped",
        f"pod {pod} measured nothing of {came} requests under reuse that are long enough, of which one in "
        f"{round(1 / MEASURED_SHARE)} at least should be; look at its log, or delete it",
    )


def _too_little_left(situation: Situation) -> Cause | None:
    """Look for a cap under which what is asked of the reach can't be had any more, as requests are now. In
    shadow as many must have come as for going on.
    """
    kept, found = situation.status.reach, situation.evidence.reaches
    asked = situation.snapshot.spec.strategy
    unfinished = situation.status.phase in (Phase.SHADOWING, Phase.CANARY)
    if kept is None or kept.cap is None or not unfinished or not situation.evidence.measured:
        return None
    share, cap = found.share(kept.cap.tokens), kept.cap
    few = (
        situation.status.phase is Phase.SHADOWING
        and situation.memory.requests_seen < asked.shadow.min_requests
    )
    if share is None or few or found.enough(cap.tokens):
        return None
    lower = ", or lower spec.strategy.reach.minShare to what is left" if share < found.min_share else ""
    return Cause(
        cap.cause,
        f"{cap.message}. Contexts up to {cap.tokens:,} tokens are {share:.0%} of the indexers' work, "
        f"spec.strategy.reach.minShare asks for {found.min_share:.0%}; try a pattern with more F{lower}",
    )


def _killed_for(revision_: str, pod: str, said: str) -> Cause:
    """Return why an engine was killed. If the operator crashed between its kill and writing down the intent,
    the engine holds the cause.
    """
    cause, _, rest = said.partition(f": revision {revision_}: ")
    if rest and cause.isalpha():
        return Cause(cause, rest)
    return Cause("Killed", f"pod {pod}: {said or 'stopped over its control port'}")


def breach_message(situation: Situation, answer: Answer, test: TestKey) -> str:
    """Return the figures of a breach, for people."""
    guardrail, judgement = answer.guardrail, answer.judgements[test]
    evidence = judged.evidence_message(judgement.log_e, log_limit(guardrail.alpha))
    asked = situation.snapshot.spec.guardrails.quality
    if guardrail.name == "quality" and asked is not None:
        drop = None if judgement.mean is None else quality.drop(judgement.mean, asked.max_logprob_drop)
        return judged.quality_message(drop, asked.max_logprob_drop, evidence)
    if guardrail.name == "disasters" and asked is not None:
        share = None if judgement.mean is None else 1.0 - judgement.mean
        return judged.disasters_message(share, asked.max_disaster_share, evidence)
    assert guardrail.threshold is not None
    mean, k = judgements.mean(situation.memory, guardrail, test), situation.snapshot.k
    return judged.breach_message(test, k=k, mean=mean, threshold=guardrail.threshold, evidence=evidence)


Trigger = Callable[[Situation], Cause | None]
ALWAYS: tuple[Trigger, ...] = (_deleted, _intended)
WHILE_ENGAGED: tuple[Trigger, ...] = (
    _killed_by_annotation,
    _unreadable,  # what comes after it relies on a spec
    _superseded,
    _restored,
    _route_changed,
    _route_taken,
    _checkpoint_replaced,
    _engine_stopped,
    _breached,
    _measuring_stopped,
)
"""In order of rank: the first that finds a cause gives it."""

"""FallingBack and FellBack: three things at once, none of which waits for another but to keep a Service from
being empty.

    kill             every pod on which reuse is or may be on, again in each look until its engine says
                     otherwise
    flags off        a newer epoch for all, persisted before it is used, so that nothing late can turn reuse
                     on again
    labels, route    wanted/withdrawal.py

Pods are never replaced on the way back. An engine that can't be asked is killed again and again; if it stays
silent, its permit has lapsed after the time that the status holds for it, and it counts as being at the
baseline.
"""

from dataclasses import replace
from datetime import timedelta

from indexcache_core.bounds import KILL_REASON
from indexcache_core.evidence.traffic import Reached

from indexcache_operator.api.status import FallbackStatus, Phase, Status, TrafficStatus
from indexcache_operator.model import Kill
from indexcache_operator.plan.facts import revision
from indexcache_operator.plan.facts.endings import Then, ending
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import OFF, may_be_on, pod_status
from indexcache_operator.plan.phases import check
from indexcache_operator.plan.phases.entering import MEASURING, enter, reject, remember
from indexcache_operator.plan.wanted import flags
from indexcache_operator.plan.wanted.targets import Targets
from indexcache_operator.plan.wanted.withdrawal import (
    canary_released,
    restored,
    returning_backends,
    returning_labels,
)


def kills(situation: Situation, kinds: dict[str, str]) -> list[Kill]:
    """Return every pod on which reuse may run and isn't wanted, those on their way out too."""
    snapshot, status = situation.snapshot, situation.status
    intent = status.fallback
    # Read again by triggers.py, should the operator crash before the intent is in the status.
    why = (
        f"{intent.cause}: revision {intent.revision}: {intent.message}"[:KILL_REASON]
        if intent
        else "reuse isn't wanted here"
    )
    since = snapshot.since(intent.since) if intent else timedelta()
    return [
        Kill(pod=p.name, reason=why)
        for p in snapshot.observation.pods
        if kinds.get(p.name, OFF) not in flags.REUSING and may_be_on(p, pod_status(status, p.name), since)
    ]


def at_baseline(situation: Situation) -> list[str]:
    """Return the pods that aren't at the baseline yet: their engines say otherwise, or are silent within
    their permit.
    """
    snapshot, status = situation.snapshot, situation.status
    since = status.fallback.since if status.fallback else status.phase_started_at
    baseline = flags.SHADOW if holds(situation) else OFF
    out = []
    for pod in snapshot.pods:
        kept = pod_status(status, pod.name)
        if pod.state is not None:
            if not (flags.kind_of(kept) == baseline and flags.settled(situation, pod)):
                out.append(pod.name)
        elif may_be_on(pod, kept, snapshot.since(since)):
            out.append(
                f"{pod.name} (unreachable; its permit of {kept.permit.total_seconds():g} s is lapsing)"
            )
    return out


def holds(situation: Situation) -> bool:
    """Return whether the try goes on in shadow once all is back: engines are never told `off`, so that they
    keep what they measured for it.
    """
    snapshot, intent = situation.snapshot, situation.status.fallback
    return (
        situation.status.phase is Phase.FALLING_BACK
        and intent is not None
        and ending(intent.cause).then is Then.HOLD
        and not snapshot.observation.deleting
        and snapshot.wanted_revision == situation.status.revision
    )


def decide(situation: Situation) -> Status:
    """Lead from FallingBack to FallingBack, FellBack, Shadowing for a try that is held, or Checking for what
    comes next.
    """
    snapshot, status = situation.snapshot, situation.status
    waiting = at_baseline(situation)
    cause = f"{status.fallback.cause}: {status.fallback.message}" if status.fallback else "Falling back"
    if waiting:
        return replace(status, message=f"{cause}. Not yet at the baseline: {', '.join(waiting)}")
    if not restored(situation):
        return replace(
            status, message=f"{cause}. All engines are at the baseline; waiting for the route to be accepted"
        )
    if not canary_released(snapshot):
        seen = (
            "the engines' counters still show traffic on the canary"
            if situation.seen.reached is Reached.NO
            else "draining the canary"
        )
        return replace(status, message=f"{cause}. All engines are at the baseline; {seen}")
    return finish(situation)


def finish(situation: Situation) -> Status:
    """End the try, as all is back: write down how it ended, and begin what comes next."""
    snapshot, status, intent = situation.snapshot, situation.status, situation.status.fallback
    traffic = TrafficStatus(verified_generation=status.traffic.verified_generation)
    back = replace(status, canary_pods=(), route=None, step=None, traffic=traffic)
    then = ending(intent.cause).then if intent else Then.NEXT
    if holds(situation):
        return _held(replace(situation, status=back))
    if intent is None or then in (Then.NEXT, Then.HOLD):
        cause = intent.cause if intent else "Superseded"
        origin = ending(cause).origin
        back = replace(back, history=remember(situation, "Superseded", cause, origin))
        if snapshot.observation.spec:
            return check.adopt(replace(situation, status=back))
        return replace(
            enter(
                replace(situation, status=back), Phase.FAILED, f"spec: {snapshot.observation.spec_problem}"
            ),
            fallback=None,
        )
    back = replace(back, history=remember(situation, "FellBack", intent.cause, ending(intent.cause).origin))
    if then is Then.REJECT:
        back = replace(back, rejected=reject(situation, intent))
    message = (
        f"{intent.cause}: {intent.message}. All users are served by the baseline; revision "
        f"{status.revision} isn't tried again without {_way_on(intent)}"
    )
    return enter(replace(situation, status=back), Phase.FELL_BACK, message)


def _held(situation: Situation) -> Status:
    status, intent = situation.status, situation.status.fallback
    assert intent is not None
    message = f"{MEASURING}. The canary is held, not rejected: {intent.message}"
    back = replace(
        status,
        fallback=None,
        history=remember(situation, "FellBack", intent.cause, ending(intent.cause).origin),
    )
    return enter(replace(situation, status=back), Phase.SHADOWING, message)


def _way_on(intent: FallbackStatus) -> str:
    if intent.kill:
        return f"annotation {revision.KILL} being removed"
    return f'annotation {revision.RETRY}: "{revision.next_retry(intent.retried, intent.revision)}"'


def rest(situation: Situation) -> Status:
    """Lead from FellBack to FellBack, or Checking if the spec changed, a retry is asked for, or a kill taken
    back.
    """
    snapshot, status = situation.snapshot, situation.status
    if snapshot.observation.spec is None:
        return status
    rejected = revision.rejection(status, status.revision)
    annotations, intent = snapshot.observation.annotations, status.fallback
    if snapshot.wanted_revision != status.revision:
        return check.adopt(situation)
    if rejected is not None:
        again = revision.retry_allowed(annotations, rejected.revision, rejected.retried)
    elif intent is not None and not revision.killed(annotations, status.revision):
        again = bool(intent.kill) or revision.retry_allowed(annotations, status.revision, intent.retried)
    else:
        again = False
    return check.adopt(situation) if again else status


def targets(situation: Situation) -> Targets:
    """Want reuse off on all pods, also on those on their way out, labels and route on their way back."""
    pods = situation.snapshot.observation.pods
    kinds = {p.name: flags.SHADOW for p in pods} if holds(situation) else {}
    return Targets(kinds=kinds, labels=returning_labels(situation), backends=returning_backends(situation))

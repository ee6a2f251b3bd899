"""Grants pods their reach, and takes it back where a try ends or evidence speaks against longer contexts.

Canary pods may reuse as far as certificates of shadow reach, all others as far as those under reuse. After
the promotion one pod goes ahead with the farther reach, so that the next bucket earns its certificates under
reuse there first. What was granted stays for the rest of the try, with or without the counters that it rests
on; it is written down before flags follow from it.
"""

from dataclasses import replace

from indexcache_operator.api.status import Phase, ReachStatus, Status
from indexcache_operator.plan.facts import reach
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.wanted import flags


def grant(situation: Situation) -> Status:
    """Return the status with how far each pod may reuse from now on."""
    status, before = situation.status, situation.status.reach
    if status.phase not in reach.EXPOSED:
        kept = ReachStatus(cap=before.cap) if before and before.cap else None
        return replace(status, reach=kept)
    if before is None and status.phase is not Phase.CANARY:  # promoted by a release that knew of no reach
        before = ReachStatus(tokens=reach.UNBOUNDED, canary_tokens=reach.UNBOUNDED)
    now = before or ReachStatus()
    found = situation.evidence.reaches
    if not situation.snapshot.paused:
        canary = max(now.canary_tokens, found.shadow)
        now = replace(now, canary_tokens=canary, tokens=max(now.tokens, min(found.reuse, canary)))
    return replace(status, reach=replace(now, ahead=_ahead(situation, now)))


def _ahead(situation: Situation, granted: ReachStatus) -> str:
    """Return the pod that goes ahead after the promotion: the same as long as it is there, then the first
    ready one that can be told a reach.
    """
    snapshot = situation.snapshot
    if situation.status.phase is not Phase.PROMOTED or granted.canary_tokens <= granted.tokens:
        return ""
    if any(p.name == granted.ahead for p in snapshot.pods):
        return granted.ahead
    able = (p.name for p in snapshot.ready if flags.knows_reach(p, granted.canary_tokens))
    return min(able, default="")


def held(situation: Situation, kinds: dict[str, str]) -> dict[str, str]:
    """Return the kinds of flags without reuse on engines that can't be told how far it may reach: they would
    take it for every length.
    """
    return {
        pod.name: flags.SHADOW
        if kinds[pod.name] in flags.REUSING
        and not flags.knows_reach(pod, reach.of_pod(situation.status, pod.name))
        else kinds[pod.name]
        for pod in situation.snapshot.observation.pods
        if pod.name in kinds
    }

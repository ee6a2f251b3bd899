"""Shows how far reuse reaches, in the status and as Events."""

from collections.abc import Iterator
from dataclasses import replace

from indexcache_operator.api.status import Phase, ReachStatus, Status
from indexcache_operator.model import Event
from indexcache_operator.plan.facts import reach
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.waits import reaching


def shown(situation: Situation) -> ReachStatus | None:
    """Return the reach of the status with its figures of this look."""
    kept, found = situation.status.reach or ReachStatus(), situation.evidence.reaches
    is_exposed = situation.status.phase in reach.EXPOSED
    if not is_exposed and situation.status.phase is not Phase.SHADOWING:
        return situation.status.reach
    tokens = reaching.exposed(situation) if is_exposed else reaching.certified(situation)
    share = found.share(tokens)
    beyond = reaching.share_of(situation, reaching.next_bucket(situation, tokens))
    return replace(
        kept,
        share=None if share is None else round(share, 2),
        beyond_share=None if beyond is None else round(beyond, 2),
        message=reaching.sentence(situation),
        summary=reaching.summary(tokens if is_exposed else 0),
    )


def changed(before: Status, status: Status) -> bool:
    """Return whether pods are granted another reach, or it was capped."""
    return reach.decided(before.reach) != reach.decided(status.reach)


def as_before(now: ReachStatus | None, before: ReachStatus | None) -> ReachStatus | None:
    """Return the reach with the figures that are in the status already."""
    if before is None:
        return now
    return replace(
        now or ReachStatus(),
        share=before.share,
        beyond_share=before.beyond_share,
        message=before.message,
        summary=before.summary,
    )


def events(before: Status, status: Status) -> Iterator[Event]:
    """Yield Events where the reach grew or was capped."""
    was, now = before.reach, status.reach
    if now is None:
        return
    if now.cap is not None and (was is None or was.cap is None or now.cap.tokens < was.cap.tokens):
        way_out = "nothing need be done while enough is left; a pattern with more F may reach farther"
        message = f"reuse is kept to contexts up to {now.cap.tokens:,} tokens: {now.cap.message}; {way_out}"
        yield Event(type="Warning", reason="ReachCapped", message=message[:1000])
    if was is None or not was.canary_tokens:
        return
    if now.tokens > was.tokens:
        yield _grew("all pods", was.tokens, now.tokens)
    elif now.canary_tokens > was.canary_tokens:
        whose = "the canary's pods" if status.phase is Phase.CANARY else "the pod that goes ahead"
        yield _grew(whose, was.canary_tokens, now.canary_tokens)


def _grew(whose: str, before: int, now: int) -> Event:
    old, new = reaching.summary(before), reaching.summary(now)
    return Event(type="Normal", reason="ReachGrew", message=f"the reach of {whose} grows from {old} to {new}")

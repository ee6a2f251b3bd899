"""Tells in words how far reuse reaches, what that is of the indexers' work, and what keeps it from reaching
farther.
"""

from indexcache_core.contexts import CONTEXT_ENDS_IN_K
from indexcache_core.evidence.verdict import Verdict

from indexcache_operator.api.status import Phase
from indexcache_operator.plan.facts import reach
from indexcache_operator.plan.facts.situation import Situation

_THOUSAND = 1024


def exposed(situation: Situation) -> int:
    """Return the reach of those who may meet reuse: of the canary's pods while it runs, of all afterwards."""
    kept, phase = situation.status.reach, situation.status.phase
    if kept is None:
        return reach.granted(situation.status)
    return kept.canary_tokens if phase is Phase.CANARY else kept.tokens


def certified(situation: Situation) -> int:
    """Return the reach that the phase goes on by: of shadow before anybody is exposed, else under reuse."""
    found = situation.evidence.reaches
    return found.shadow if situation.status.phase is Phase.SHADOWING else found.reuse


def summary(tokens: int) -> str:
    """Return a reach in a word: "8K", "all", or "-" where there is none."""
    return "all" if tokens >= reach.UNBOUNDED else short(tokens) if tokens else "-"


def short(tokens: int) -> str:
    """Return a number of tokens as people say it: "8K" for 8192."""
    return str(tokens) if tokens % _THOUSAND else f"{tokens // _THOUSAND}K"


def beyond(situation: Situation) -> str:
    """Return which share of the work is beyond what certificates reach; empty where that can't be told."""
    tokens = certified(situation)
    share = situation.evidence.reaches.share(tokens)
    if share is None or share >= 1.0:
        return ""
    return f"contexts over {tokens:,} tokens are {1.0 - share:.0%} of the indexers' work"


def sentence(situation: Situation) -> str:
    """Return how far reuse reaches, or could, and what the next longer contexts wait for."""
    shadow = situation.status.phase is Phase.SHADOWING
    tokens = certified(situation) if shadow else exposed(situation)
    share = situation.evidence.reaches.share(tokens)
    verb = "could reach" if shadow else "reaches"
    where = "contexts of every length" if tokens >= reach.UNBOUNDED else f"contexts up to {tokens:,} tokens"
    held = "" if share is None else f", {share:.0%} of the indexers' work"
    said = f"reuse {verb} {where}{held}"
    return "; ".join(filter(None, (said, _next(situation, tokens))))


def next_bucket(situation: Situation, tokens: int) -> int | None:
    """Return the bucket of context length that comes after a reach; None after one without a bound."""
    k = situation.evidence.reaches.k
    if k is None or tokens >= reach.UNBOUNDED:
        return None
    return next(b for b in range(len(CONTEXT_ENDS_IN_K) + 1) if reach.end(b, k) > tokens)


def share_of(situation: Situation, bucket: int | None) -> float | None:
    """Return the share of the work in one bucket; None where that can't be told."""
    work = situation.evidence.reaches.work
    return None if bucket is None or not sum(work) else work[bucket] / sum(work)


def _next(situation: Situation, tokens: int) -> str:
    """Return what the contexts after a reach wait for; empty where nothing is left."""
    kept, bucket, k = situation.status.reach, next_bucket(situation, tokens), situation.evidence.reaches.k
    share = share_of(situation, bucket)
    if bucket is None or k is None or not situation.evidence.measured:
        return ""
    if kept is not None and kept.cap is not None and kept.cap.tokens <= tokens:
        return f"it goes no farther in this try: {kept.cap.message}"
    end = reach.end(bucket, k)
    length = f"over {short(tokens)}" if end >= reach.UNBOUNDED else f"{short(tokens)} to {short(end)}"
    if not share:
        return f"no request of {length} comes"
    needs = [
        judgement.needed
        for answer in situation.evidence.acting
        for test, judgement in answer.judgements.items()
        if test.context == bucket and judgement.verdict is not Verdict.CERTIFIED
    ]
    known = [n for n in needs if n]
    if not known or len(known) < len(needs):
        return f"the next {share:.0%} wait for certificates of {length}"
    return f"the next {share:.0%} wait for {max(known)} more requests of {length}"

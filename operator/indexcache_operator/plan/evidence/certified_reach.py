"""Works out how far certificates reach: to the end of the highest bucket of context length such that it and
all judged ones below are certified.

A bucket is certified in a stream if every acting guardrail on measurements has its certificates for prefill
there, and for decode if a user's request of that length decodes. A bucket within spec.indexCache's
minContextTokens is asked for none while nothing was measured there: its steps run all Full by themselves, and
what shares a step with a longer context is measured.

What was granted counts as certified, and a cap bounds all that comes after it.
"""

from collections.abc import Iterator, Sequence

from indexcache_core.contexts import JUDGED
from indexcache_core.contract import Mode, Work
from indexcache_core.evidence.verdict import Verdict

from indexcache_operator.plan.evidence import contexts
from indexcache_operator.plan.evidence.judgements import Judgements
from indexcache_operator.plan.facts import reach
from indexcache_operator.plan.facts.guardrails import Guardrail
from indexcache_operator.plan.facts.memory import Stream
from indexcache_operator.plan.facts.reach import Reaches
from indexcache_operator.plan.facts.situation import Situation


def reaches(situation: Situation, judged: Judgements, guardrails: Sequence[Guardrail]) -> Reaches:
    """Return how far certificates reach in both streams. Reuse is granted to all pods no farther than to the
    canary's.
    """
    spec, kept, k = situation.snapshot.spec, situation.status.reach, situation.snapshot.k
    before = (kept.canary_tokens, kept.tokens) if kept else (reach.granted(situation.status),) * 2
    cap = kept.cap.tokens if kept and kept.cap else reach.UNBOUNDED
    acting = [g for g in guardrails if g.acts and g.measure is not None]
    shadow, reuse = before
    if not acting and (spec.guardrails.unguarded or any(g.acts for g in guardrails)):
        shadow, reuse = max(shadow, cap), max(reuse, cap)
    elif acting and k is not None:
        shadow = max(shadow, min(_reach(situation, judged, acting, Mode.SHADOW, shadow), cap))
        reuse = max(reuse, min(_reach(situation, judged, acting, Mode.ON, reuse), cap, shadow))
    return Reaches(
        shadow=shadow,
        reuse=reuse,
        work=contexts.work(situation),
        k=k,
        min_share=spec.strategy.reach.min_share,
    )


def cells(
    situation: Situation,
    judged: Judgements,
    guardrails: Sequence[Guardrail],
    bucket: int,
    stream: Stream,
) -> Iterator[tuple[int, Work]]:
    """Yield the kinds of work of a bucket whose certificates are asked for in a stream."""
    k, floor = situation.snapshot.k, situation.snapshot.spec.index_cache.min_context_tokens
    if k and reach.end(bucket, k) <= floor and not judged.any_counted(guardrails, bucket, stream):
        return
    yield bucket, Work.PREFILL
    if bucket in contexts.decoding(situation):
        yield bucket, Work.DECODE


def _reach(
    situation: Situation, judged: Judgements, acting: Sequence[Guardrail], stream: Stream, before: int
) -> int:
    k = situation.snapshot.k
    assert k is not None
    found = reach.least(k)
    for bucket in JUDGED:
        if not reach.within(bucket, before, k):
            wanted = set(cells(situation, judged, acting, bucket, stream))
            if not all(
                judged.of(guardrail, test, stream).verdict is Verdict.CERTIFIED
                for guardrail in acting
                for test in guardrail.tests
                if (test.context, test.work) in wanted
            ):
                break
        found = reach.end(bucket, k)
    return found

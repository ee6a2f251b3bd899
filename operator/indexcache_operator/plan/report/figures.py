"""Evidence in figures: a row for each certificate, and what alert rules rest on."""

import math

from indexcache_core.contexts import context_label
from indexcache_core.evidence import quality
from indexcache_core.evidence.guardrails import IN_RESOURCE
from indexcache_core.evidence.verdict import Judgement, Verdict, log_limit

from indexcache_operator.api.status import EvidenceStatus
from indexcache_operator.model import LiveEvidence
from indexcache_operator.plan.facts import reach
from indexcache_operator.plan.facts.memory import TestKey
from indexcache_operator.plan.facts.situation import Answer, Situation

MOST_E = 1e12
"""What is shown of wealth beyond all need."""


def evidence_rows(situation: Situation) -> tuple[EvidenceStatus, ...]:
    """Return one row for each certificate, of the indexers only the weakest: sixty rows are no status."""
    rows = []
    for answer in situation.evidence.answers:
        kept = list(answer.judgements.items())
        if answer.guardrail.by_site and kept:
            kept = [min(kept, key=lambda item: (_rank(item[1]), -item[1].log_e, item[1].lower_bound or 0.0))]
        rows += [_row(situation, answer, key, judgement) for key, judgement in kept]
    return tuple(rows)


def _rank(judgement: Judgement) -> int:
    return list(Verdict).index(judgement.verdict)


def _row(situation: Situation, answer: Answer, key: TestKey, j: Judgement) -> EvidenceStatus:
    if answer.guardrail.name == "quality":
        return _quality(situation, answer, j)
    k = situation.snapshot.k
    return EvidenceStatus(
        guardrail=IN_RESOURCE[answer.guardrail.name],
        contexts=context_label(key.context, k) if key.context is not None and k else "",
        work=key.work or "",
        indexer=key.site,
        verdict=j.verdict,
        mean=None if j.mean is None else round(j.mean, 4),
        lower_bound=None if j.lower_bound is None else round(j.lower_bound, 4),
        threshold=answer.guardrail.threshold,
        samples=j.samples,
        e_value=_e_value(j),
        alpha=answer.guardrail.alpha,
    )


def _quality(situation: Situation, answer: Answer, j: Judgement) -> EvidenceStatus:
    """Return the row of the probes, in nats: a drop that is small is good, so it has an upper bound."""
    asked = situation.snapshot.spec.guardrails.quality
    assert asked is not None
    mean, bound = (
        None if value is None else round(quality.drop(value, asked.max_logprob_drop), 4)
        for value in (j.mean, j.lower_bound)
    )
    return EvidenceStatus(
        guardrail="quality",
        verdict=j.verdict,
        mean=mean,
        upper_bound=bound,
        threshold=asked.max_logprob_drop,
        unit="nats a token",
        samples=j.samples,
        e_value=_e_value(j),
        alpha=answer.guardrail.alpha,
    )


def _e_value(j: Judgement) -> float:
    return round(min(math.exp(min(j.log_e, 50.0)), MOST_E), 4)


def live(situation: Situation) -> tuple[LiveEvidence, ...]:
    """Return the evidence against the pattern by each guardrail with a threshold, for alert rules.

    An alert rolls back by guardrails that only observe, too: they share what may be spent on alerts, which is
    no more than those that act may spend by themselves. Evidence on contexts beyond what any pod may reuse
    says nothing: nobody is to be taken back by it.
    """
    exposed, k = reach.granted(situation.status), situation.evidence.reaches.k
    judged = [a for a in situation.evidence.answers if a.guardrail.threshold is not None]
    observing = sum(not a.guardrail.acts for a in judged)
    return tuple(
        LiveEvidence(
            guardrail=IN_RESOURCE[a.guardrail.name],
            log_e=max(
                (j.log_e for test, j in a.judgements.items() if reach.within(test.context, exposed, k)),
                default=0.0,
            ),
            log_limit=log_limit(a.guardrail.alpha / (1 if a.guardrail.acts else observing)),
        )
        for a in judged
    )


def recall(situation: Situation) -> str:
    """Return of the weakest bucket the mean, and the bound above which it is all but certainly."""
    answer = next((a for a in situation.evidence.answers if a.guardrail.name == "recall"), None)
    found = [
        (j.lower_bound, j.mean)
        for j in (answer.judgements.values() if answer else ())
        if j.lower_bound is not None and j.mean is not None
    ]
    if not found:
        return ""
    bound, mean = min(found)
    return f"{mean:.2f} (>{bound:.2f})"

"""Which tests a spec asks for, and each one's part of alpha.

A guardrail with a threshold that isn't `observeOnly` *acts*. alpha (confidence.falseRollback) is split by Bonferroni. The engines' breakers
together get BREAKERS of it if there is anything that they can judge, each engine an even part. The rest is the operator's, evenly over the
guardrails that act, and within each evenly over its tests:

    overlap, recall         one test a judged bucket of context length, on the mean over the Shared indexers
    recallPerIndexer        one test a Shared indexer and judged bucket
    quality                 one test

The split rests on the spec alone, never on data. Certificates aren't split: see indexcache_core/evidence/certificate.py. They are asked for
in fewer, larger groups: `overlap` and `recall` for each judged bucket that carries at least CARRIES of the judged traffic (of requests by
prompt length), `recallPerIndexer` for each indexer over all judged buckets together.

"Overall" is the mean over the Shared indexers of one request step, each with the same weight.
"""

from dataclasses import dataclass
from typing import Literal

from indexcache_core.contract import JUDGED, Breaker, GuardrailName, Thresholds
from indexcache_core.digest import digest
from indexcache_core.evidence import quality
from indexcache_core.pattern import protect, shared_sites

from indexcache_operator.api.spec import Spec
from indexcache_operator.plan.memory import Measure, TestKey

CARRIES = 0.05
BREAKERS = 0.1
"""The breakers' part of alpha: a tenth, since they only have to act where nobody else does. It costs the operator 0.1 nat, and them 2.3."""
Name = Literal["overlap", "recall", "recallPerIndexer", "quality"]


@dataclass(frozen=True, kw_only=True)
class Guardrail:
    """One guardrail as it is tested."""

    name: Name
    measure: Measure | None
    """None for quality."""
    threshold: float | None
    acts: bool
    tests: tuple[TestKey, ...]
    alpha: float
    """Of each test."""
    share: float = 1.0
    """What one site's observation counts."""

    @property
    def by_site(self) -> bool:
        """Whether its tests are of single indexers."""
        return self.name == "recallPerIndexer"


def effective_pattern(spec: Spec) -> str:
    """What is tried: the pattern with the protected indexers Full."""
    return protect(spec.index_cache.pattern, spec.index_cache.protected)


def thresholds(spec: Spec) -> Thresholds:
    """As engines publish them for alert rules; of guardrails that only observe too."""
    g = spec.guardrails
    return Thresholds(overlap=g.overlap.min, recall=g.recall.min, recall_per_indexer=g.recall.per_indexer_min)


def guardrails(spec: Spec) -> tuple[Guardrail, ...]:
    """All four that can be shown, quality only where there are probes."""
    g = spec.guardrails
    shared = shared_sites(effective_pattern(spec))
    share = 1.0 / max(len(shared), 1)
    by_context = {name: tuple(TestKey(name, None, c) for c in JUDGED) for name in ("overlap", "recall")}
    by_site = tuple(TestKey("recallPerIndexer", s, c) for s in shared for c in JUDGED)
    rows: list[tuple[Name, Measure | None, float | None, bool, tuple[TestKey, ...], float]] = [
        ("overlap", "overlap", g.overlap.min, g.overlap.observe_only, by_context["overlap"], share),
        ("recall", "recall", g.recall.min, g.recall.observe_only, by_context["recall"], share),
        ("recallPerIndexer", "recall", g.recall.per_indexer_min, g.recall.observe_only, by_site, 1.0),
    ]
    if g.quality is not None:
        rows.append(("quality", None, quality.THRESHOLD, g.quality.observe_only, (TestKey("quality"),), 1.0))
    acting = sum(1 for row in rows if row[2] is not None and not row[3] and row[4])
    mine = spec.confidence.false_rollback * (1.0 - BREAKERS if _judged_by_engines(spec) else 1.0)
    return tuple(
        Guardrail(
            name=name,
            measure=measure,
            threshold=threshold,
            acts=threshold is not None and not observes and bool(tests),
            tests=tests,
            alpha=mine / max(acting, 1) / max(len(tests), 1),
            share=part,
        )
        for name, measure, threshold, observes, tests, part in rows
    )


def breaker(spec: Spec) -> Breaker | None:
    """What each engine judges by itself; None where no guardrail of a measure acts.

    The bound is for as many lives of engines as there are replicas; one that restarts begins another.
    """
    judged = _judged_by_engines(spec)
    if not judged:
        return None
    return Breaker(alpha=spec.confidence.false_rollback * BREAKERS / spec.engine.replicas, guardrails=judged)


def _judged_by_engines(spec: Spec) -> tuple[GuardrailName, ...]:
    g = spec.guardrails
    acting: dict[GuardrailName, bool] = {
        "overlap": g.overlap.min is not None and not g.overlap.observe_only,
        "recall": g.recall.min is not None and not g.recall.observe_only,
        "recall_per_indexer": g.recall.per_indexer_min is not None and not g.recall.observe_only,
    }
    return tuple(name for name, acts in acting.items() if acts) if shared_sites(effective_pattern(spec)) else ()


def question(spec: Spec) -> str:
    """A name for what is asked of the evidence. If it changes, what was counted against the old question is void."""
    asked = {"guardrails": spec.guardrails.model_dump(mode="json"), "confidence": spec.confidence.model_dump(mode="json")}
    return digest(asked, 10)

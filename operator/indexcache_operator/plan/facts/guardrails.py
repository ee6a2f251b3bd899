"""Tells which tests a spec asks for, and each one's part of alpha.

The guardrails, their tests and the split are core's (indexcache_core/evidence/guardrails.py); this is how a
spec sets them. A guardrail with a threshold that isn't `observeOnly` *acts*: it takes part in alpha and can
roll back.

Probes have two guardrails of one section of the spec: `quality` on their mean and `disasters` on the share
that is wholly lost.

Reuse reaches only contexts whose tests are certified (plan/evidence/certified_reach.py). Certificates of one
bucket of context length aren't split, as all of them are needed
(indexcache_core/evidence/certificate.py); buckets are, since traffic decides how many come to be certified:
each has an even part of beta.
"""

from dataclasses import dataclass, replace

from indexcache_core.contract import Breaker, GuardrailName, Thresholds
from indexcache_core.digest import digest
from indexcache_core.evidence import quality
from indexcache_core.evidence.guardrails import (
    MEASURED,
    Measure,
    Name,
    TestKey,
    engines_alpha,
    operators_alpha,
    tests_alpha,
)
from indexcache_core.pattern import protect, shared_sites

from indexcache_operator.api.spec import Overlap, Recall, Spec


@dataclass(frozen=True, kw_only=True)
class Guardrail:
    """A guardrail as it is tested."""

    name: Name
    measure: Measure | None
    """None for those on probes."""
    by_site: bool = False
    """Whether its tests are of single indexers."""
    threshold: float | None
    acts: bool
    tests: tuple[TestKey, ...]
    alpha: float = 0.0
    """Of each test."""
    beta: float = 1.0
    """Of each certificate."""


def effective_pattern(spec: Spec) -> str:
    """Return what is tried: the pattern with the protected indexers Full."""
    return protect(spec.index_cache.pattern, spec.index_cache.protected)


def thresholds(spec: Spec) -> Thresholds:
    """Return the thresholds as engines publish them for alert rules, of guardrails that only observe too."""
    g = spec.guardrails
    return Thresholds(overlap=g.overlap.min, recall=g.recall.min, recall_per_indexer=g.recall.per_indexer_min)


def guardrails(spec: Spec) -> tuple[Guardrail, ...]:
    """Return all that can be shown, those on probes only where there are any."""
    asked = _asked(spec)
    acting = sum(guardrail.acts for guardrail in asked)
    alpha = operators_alpha(spec.confidence.false_rollback, engines_judge=bool(_judged_by_engines(spec)))
    return tuple(
        replace(
            guardrail,
            alpha=tests_alpha(alpha, acting, len(guardrail.tests)),
            beta=certificates_beta(spec.confidence.bad_promotion, guardrail),
        )
        for guardrail in asked
    )


def certificates_beta(bad_promotion: float, guardrail: Guardrail) -> float:
    """Return the part of beta of each certificate of a guardrail: an even one of each bucket that has
    certificates of its own.
    """
    return bad_promotion / max(len({test.context for test in guardrail.tests}), 1)


def _asked(spec: Spec) -> list[Guardrail]:
    """Return them without their parts of alpha."""
    g, limits = spec.guardrails, thresholds(spec)
    shared = shared_sites(effective_pattern(spec))
    asked = []
    sections: dict[Measure, Overlap | Recall] = {"overlap": g.overlap, "recall": g.recall}
    for measured in MEASURED.values():
        section = sections[measured.measure]
        threshold: float | None = getattr(limits, measured.name)
        tests = measured.tests(shared)
        asked.append(
            Guardrail(
                name=measured.name,
                measure=measured.measure,
                by_site=measured.by_site,
                threshold=threshold,
                acts=threshold is not None and not section.observe_only and bool(tests),
                tests=tests,
            )
        )
    if g.quality is not None:
        tests = (TestKey("quality"),)
        acts = not g.quality.observe_only
        asked.append(
            Guardrail(name="quality", measure=None, threshold=quality.THRESHOLD, acts=acts, tests=tests)
        )
        asked.append(
            Guardrail(
                name="disasters",
                measure=None,
                threshold=1.0 - g.quality.max_disaster_share,
                acts=acts,
                tests=(TestKey("disasters"),),
            )
        )
    return asked


def breaker(spec: Spec) -> Breaker | None:
    """Return what each engine judges by itself; None where no guardrail of a measure acts.

    The bound is for as many lives of engines as there are replicas; one that restarts begins another.
    """
    judged = _judged_by_engines(spec)
    if not judged:
        return None
    return Breaker(
        alpha=engines_alpha(spec.confidence.false_rollback, spec.engine.replicas), guardrails=judged
    )


def _judged_by_engines(spec: Spec) -> tuple[GuardrailName, ...]:
    if not shared_sites(effective_pattern(spec)):
        return ()
    return tuple(
        MEASURED[guardrail.name].name
        for guardrail in _asked(spec)
        if guardrail.acts and guardrail.name in MEASURED
    )


def guarded(spec: Spec) -> bool:
    """Return whether a guardrail on what engines measure acts: one with a threshold that does more than
    observe.
    """
    g = spec.guardrails
    overlap, recall = g.overlap, g.recall
    return (overlap.min is not None and not overlap.observe_only) or (
        (recall.min is not None or recall.per_indexer_min is not None) and not recall.observe_only
    )


def certainty(spec: Spec) -> str:
    """Return the reason for which a pattern was promoted, in one word."""
    return "Certified" if guarded(spec) else "Unguarded"


def question(spec: Spec) -> str:
    """Return a name for what is asked of the evidence. If it changes, what was counted against the old
    question is void.
    """
    asked = {
        "guardrails": spec.guardrails.model_dump(mode="json"),
        "confidence": spec.confidence.model_dump(mode="json"),
    }
    return digest(asked, 10)

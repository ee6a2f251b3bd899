"""The engine's own guard: the operator's evidence, on what this engine alone measured. Pure: measurements and slots are arguments.

Tests are the operator's: `overlap` and `recall` one for each judged bucket of context length, on the mean over the Shared sites;
`recall_per_indexer` one for each Shared site and judged bucket. The breaker's alpha is split evenly over its guardrails, and within each
evenly over its tests. A test has a detector (indexcache_core/evidence/detector.py) for each stream, shadow and on, and bets half and half.

In mode shadow evidence only grows: nobody is exposed. What it says then counts when the engine is switched on.

Restarts. An engine that restarts begins another life, with counters, slots and an alpha of its own: the bound is for each series of each
life. A breaker that begins within a series, because what is asked changed, takes up all that the series measured as its first bet and
leaves slots that passed unopened, as `detector.resumed` does.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from indexcache_core import contract
from indexcache_core.contract import JUDGED, BreakerTest, GuardrailName, Mode, Site, Thresholds, context_label
from indexcache_core.evidence import detector
from indexcache_core.evidence.detector import Detector
from indexcache_core.histogram import Histogram

from indexcache_runtime.measurements import Cell

LOOK_SECONDS = 0.25
"""Evidence is judged no more often than this."""
CELLS_A_LOOK = 64
"""Cells with new observations that one look takes up, at most; the rest waits for the next. Some 40 us each, on the engine's thread."""
STREAMS = (Mode.SHADOW, Mode.ON)


@dataclass(frozen=True)
class Test:
    """One test of one guardrail."""

    guardrail: GuardrailName
    site: int | None
    context: int


class Breaker:
    """One series' evidence under one question. Mutable, not thread-safe."""

    def __init__(self, asked: contract.Breaker, thresholds: Thresholds, shared: int, slot: int = 1) -> None:
        """`shared`: Shared sites of the pattern; `slot`: seconds since the series began, 1 if it begins with this breaker.

        Raises ValueError where a guardrail has no threshold.
        """
        self._m0: dict[GuardrailName, float] = {}
        for name in asked.guardrails:
            threshold: float | None = getattr(thresholds, name)
            if threshold is None:
                raise ValueError(f"thresholds.{name}: missing; the breaker can't judge {name} without it")
            self._m0[name] = threshold
        self._shared, self._slot = max(shared, 1), slot
        tests = {name: len(JUDGED) * (self._shared if name == "recall_per_indexer" else 1) for name in self._m0}
        self._limits = {name: math.log(len(self._m0) * n / asked.alpha) for name, n in tests.items()}
        self._detectors: dict[Test, dict[Mode, Detector]] = {}
        self._log_e: dict[Test, float] = {}
        self._seen: dict[Test, tuple[int, float]] = {}
        self._over: dict[Test, None] = {}

    def look(self, new: Iterable[tuple[Cell, Histogram, Histogram]], slot: int) -> None:
        """Take up new observations: overlap and recall, by cell. `slot` never falls."""
        batches: dict[tuple[Test, Mode], list[Histogram]] = {}
        for (site, context, mode), overlap, recall in new:
            if context not in JUDGED:
                continue
            for name in self._m0:
                key = Test(name, site if name == "recall_per_indexer" else None, context), mode
                batches.setdefault(key, []).append(overlap if name == "overlap" else recall)
        for (test, mode), histograms in batches.items():
            self._bet(test, mode, _together(histograms), slot)

    def breach(self) -> BreakerTest | None:
        """A test whose evidence reached its limit, if any has."""
        return next((self._shown(test) for test in self._over), None)

    def standing(self) -> tuple[BreakerTest, ...]:
        """Of each guardrail the test that is nearest to its limit."""
        nearest: dict[GuardrailName, Test] = {}
        for test, log_e in self._log_e.items():
            best = nearest.get(test.guardrail)
            if best is None or log_e > self._log_e[best]:
                nearest[test.guardrail] = test
        return tuple(
            self._shown(nearest[name]) if name in nearest else BreakerTest(guardrail=name, log_limit=self._limits[name])
            for name in self._m0
        )

    def message(self, test: BreakerTest, sites: tuple[Site, ...]) -> str:
        """Why it trips, for people: what was measured where, against what."""
        where, k = "the Shared indexers", max((s.k for s in sites), default=0)
        if test.site is not None:
            where = f"indexer {test.site} (layer {sites[test.site].layer})"
        if test.context is not None and k:
            where += f" at contexts of {context_label(test.context, k)} tokens"
        mean = "unknown" if test.mean is None else f"{test.mean:.3f}"
        return (
            f"{'overlap' if test.guardrail == 'overlap' else 'recall'} of {where} is {mean} in the mean over {test.observations:.0f} "
            f"observations, at least {self._m0[test.guardrail]:g} expected (guardrail {test.guardrail}); evidence e^{test.log_e:.1f} "
            f"against the pattern, the limit is e^{test.log_limit:.1f}"
        )

    def _bet(self, test: Test, mode: Mode, batch: Histogram, slot: int) -> None:
        share = self._share(test.guardrail)
        detectors = self._detectors.setdefault(test, {})
        before = detectors.get(mode) or Detector(log_s=detector.fresh().log_s, slot=self._slot)
        detectors[mode] = before.after(batch, self._m0[test.guardrail], slot, share)
        count, total = self._seen.get(test, (0, 0.0))
        self._seen[test] = count + batch.count, total + batch.sum
        # A stream without observations still holds the half that was bet on it.
        self._log_e[test] = detector.log_e([detectors.get(m) or detector.fresh() for m in STREAMS])
        if self._log_e[test] >= self._limits[test.guardrail]:
            self._over[test] = None
        else:
            self._over.pop(test, None)

    def _share(self, name: GuardrailName) -> float:
        return 1.0 if name == "recall_per_indexer" else 1.0 / self._shared

    def _shown(self, test: Test) -> BreakerTest:
        count, total = self._seen[test]
        return BreakerTest(
            guardrail=test.guardrail,
            site=test.site,
            context=test.context,
            log_e=self._log_e[test],
            log_limit=self._limits[test.guardrail],
            observations=count * self._share(test.guardrail),
            mean=total / count if count else None,
        )


def _together(histograms: list[Histogram]) -> Histogram:
    if len(histograms) == 1:
        return histograms[0]
    counts = tuple(map(sum, zip(*(h.counts for h in histograms), strict=True)))
    return Histogram.model_construct(counts=counts, sum=sum(h.sum for h in histograms))

"""The engine's own guard: the operator's evidence, on what this engine alone measured. Pure: measurements and
slots are arguments.

Tests are the operator's, and so is the way in which the breaker's alpha is split over them
(indexcache_core/evidence/guardrails.py), but for one thing: what was measured while all layers ran Full says
nothing here. It is of nobody who is served under reuse, and in mode on it may be of requests that reuse is
kept from because of their length. So a test has one detector (indexcache_core/evidence/detector.py), on what
was measured in mode on; the operator judges both streams.

Restarts. An engine that restarts begins another life, with counters, slots and an alpha of its own: the bound
is for each series of each life. A breaker that begins within a series, because what is asked changed, takes
up all that the series measured as its first bet and leaves slots that passed unopened, as `detector.resumed`
does.
"""

from collections.abc import Iterable, Sequence

from indexcache_core import contract
from indexcache_core.contexts import JUDGED
from indexcache_core.contract import BreakerTest, GuardrailName, Mode, Site, Thresholds
from indexcache_core.evidence import detector
from indexcache_core.evidence.detector import Detector
from indexcache_core.evidence.guardrails import (
    MEASURED,
    Measured,
    Name,
    TestKey,
    breach_message,
    evidence_message,
    tests_alpha,
)
from indexcache_core.evidence.verdict import log_limit
from indexcache_core.histogram import Histogram

from indexcache_runtime.measuring.bookings import Cell

LOOK_SECONDS = 0.25
"""Evidence is judged no more often than this."""
CELLS_A_LOOK = 64
"""Cells with new observations that one look takes up, at most; the rest waits for the next. Some 40 us each,
on the engine's thread."""


class Breaker:
    """Gathers one series' evidence under one question. Mutable, not thread-safe."""

    def __init__(
        self, asked: contract.Breaker, thresholds: Thresholds, shared: Sequence[int], slot: int = 1
    ) -> None:
        """Begin without evidence.

        `shared`: indexes of the pattern's Shared sites; `slot`: seconds since the series began, 1 if it
        begins with this breaker. Raises ValueError where a guardrail has no threshold.
        """
        self._judged: dict[GuardrailName, Measured] = {name: MEASURED[name] for name in asked.guardrails}
        self._m0: dict[Name, float] = {}
        for name in self._judged:
            threshold: float | None = getattr(thresholds, name)
            if threshold is None:
                raise ValueError(f"thresholds.{name}: missing; the breaker can't judge {name} without it")
            self._m0[name] = threshold
        self._slot = slot
        self._limits: dict[Name, float] = {
            name: log_limit(tests_alpha(asked.alpha, len(self._judged), len(measured.tests(shared))))
            for name, measured in self._judged.items()
        }
        self._detectors: dict[TestKey, Detector] = {}
        self._log_e: dict[TestKey, float] = {}
        self._seen: dict[TestKey, tuple[int, float]] = {}
        self._over: dict[TestKey, None] = {}

    def look(self, new: Iterable[tuple[Cell, Histogram, Histogram]], slot: int) -> None:
        """Take up new observations: overlap and recall, by cell. Those of shadow are left out. `slot` never
        falls."""
        for (site, context, work, mode), overlap, recall in new:
            if context not in JUDGED or mode is not Mode.ON:
                continue
            values = {"overlap": overlap, "recall": recall}
            for measured in self._judged.values():
                if (test := measured.test(site, context, work)) is not None:
                    self._bet(test, values[measured.measure], slot)

    def breach(self) -> BreakerTest | None:
        """Return a test whose evidence reached its limit, if any has."""
        return next((self._shown(test) for test in self._over), None)

    def standing(self) -> tuple[BreakerTest, ...]:
        """Return of each guardrail the test that is nearest to its limit."""
        nearest: dict[Name, TestKey] = {}
        for test, log_e in self._log_e.items():
            best = nearest.get(test.guardrail)
            if best is None or log_e > self._log_e[best]:
                nearest[test.guardrail] = test
        return tuple(
            self._shown(nearest[name])
            if name in nearest
            else BreakerTest(guardrail=name, log_limit=self._limits[name])
            for name in self._judged
        )

    def message(self, test: BreakerTest, sites: tuple[Site, ...]) -> str:
        """Return, for people, why it trips: what was measured where, against what."""
        return breach_message(
            TestKey(test.guardrail, test.site, test.context, test.work),
            k=max((s.k for s in sites), default=None),
            mean=test.mean,
            threshold=self._m0[test.guardrail],
            evidence=evidence_message(test.log_e, test.log_limit),
            layer=None if test.site is None else sites[test.site].layer,
            observations=test.observations,
        )

    def _bet(self, test: TestKey, batch: Histogram, slot: int) -> None:
        before = self._detectors.get(test) or Detector(log_s=detector.fresh().log_s, slot=self._slot)
        self._detectors[test] = after = before.after(batch, self._m0[test.guardrail], slot)
        count, total = self._seen.get(test, (0, 0.0))
        self._seen[test] = count + batch.count, total + batch.sum
        self._log_e[test] = after.log_e
        if self._log_e[test] >= self._limits[test.guardrail]:
            self._over[test] = None
        else:
            self._over.pop(test, None)

    def _shown(self, test: TestKey) -> BreakerTest:
        count, total = self._seen[test]
        return BreakerTest(
            guardrail=MEASURED[test.guardrail].name,
            site=test.site,
            context=test.context,
            work=test.work,
            log_e=self._log_e[test],
            log_limit=self._limits[test.guardrail],
            observations=count,
            mean=total / count if count else None,
        )

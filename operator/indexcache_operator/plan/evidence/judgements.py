"""Judges single tests on what was measured: one guardrail, one bucket of context length, one kind of work.

A test is judged once a look and stream, however often it is asked for: an indexer's certificate is nothing to
work out three times.
"""

from collections.abc import Sequence

from indexcache_core.evidence import detector, verdict
from indexcache_core.evidence.guardrails import STREAMS
from indexcache_core.evidence.verdict import Judgement
from indexcache_core.histogram import Histogram

from indexcache_operator.plan.evidence import counters
from indexcache_operator.plan.facts.guardrails import Guardrail
from indexcache_operator.plan.facts.memory import Memory, Stream, TestKey


class Judgements:
    """Holds what is said of tests in one look. Mutable: it remembers what it has worked out."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._known: dict[tuple[TestKey, Stream], Judgement] = {}

    def of(self, guardrail: Guardrail, test: TestKey, stream: Stream) -> Judgement:
        """Return what is said of a test by what was measured in one stream, and by the bets on both."""
        if (test, stream) not in self._known:
            found = counted(guardrail, self.memory, test, stream)
            self._known[test, stream] = judgement(guardrail, found, self.log_e(test))
        return self._known[test, stream]

    def log_e(self, test: TestKey) -> float:
        """Return the logarithm of the wealth against the pattern, in both streams, half and half."""
        bets = self.memory.detectors
        return detector.log_e([bets[test, s] for s in STREAMS if (test, s) in bets])

    def any_counted(self, guardrails: Sequence[Guardrail], bucket: int, stream: Stream) -> bool:
        """Return whether anything was measured in a bucket in one stream."""
        return any(
            counted(guardrail, self.memory, test, stream).count
            for guardrail in guardrails
            for test in guardrail.tests
            if test.context == bucket
        )


def counted(guardrail: Guardrail, memory: Memory, test: TestKey, stream: Stream) -> Histogram:
    """Return what a test counts in a stream, from the beginning of the try on."""
    assert guardrail.measure is not None
    total = counters.total_of(guardrail.measure, test, stream)
    return memory.totals.get(total, Histogram()) if total is not None else Histogram()


def judgement(guardrail: Guardrail, histogram: Histogram, log_e: float, *, binary: bool = False) -> Judgement:
    """Return what is said of a test of a guardrail that counts this and has this wealth against it."""
    return verdict.judge(
        histogram,
        guardrail.threshold,
        log_e=log_e,
        alpha=guardrail.alpha,
        beta=guardrail.beta,
        acts=guardrail.acts,
        binary=binary,
    )


def mean(memory: Memory, guardrail: Guardrail, test: TestKey) -> float | None:
    """Return the mean of all that a test saw, in both streams; None without any."""
    both = Histogram()
    for stream in STREAMS:
        both = both.plus(counted(guardrail, memory, test, stream))
    return both.mean

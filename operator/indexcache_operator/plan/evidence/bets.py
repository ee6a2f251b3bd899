"""Bets of the detectors on each look's new observations, on both streams, half and half."""

from dataclasses import replace
from itertools import product

from indexcache_core.evidence import detector
from indexcache_core.evidence.guardrails import STREAMS
from indexcache_core.histogram import Histogram

from indexcache_operator.api.spec import Spec
from indexcache_operator.plan.evidence.counters import Batches
from indexcache_operator.plan.facts.guardrails import guardrails
from indexcache_operator.plan.facts.memory import Memory, detector_key


def place(spec: Spec, memory: Memory, new: Batches, slot: int) -> Memory:
    """Return the memory with each detector's bet on the new observations; without detectors they take up what
    was there.
    """
    resuming = not memory.detectors
    detectors = dict(memory.detectors)
    for guardrail in guardrails(spec):
        if guardrail.measure is None or guardrail.threshold is None:
            continue
        nothing = detector.resumed(Histogram(), guardrail.threshold, slot)
        # One for all that counted nothing yet: most buckets of context length, in most rollouts.
        for test, stream in product(guardrail.tests, STREAMS):
            batch, key = new.of(guardrail.measure, test, stream), detector_key(test, stream)
            if resuming:
                detectors[key] = (
                    detector.resumed(batch, guardrail.threshold, slot) if batch.count else nothing
                )
            elif batch.count:
                before = detectors[key]
                detectors[key] = before.after(batch, guardrail.threshold, slot)
    return replace(memory, detectors=detectors)

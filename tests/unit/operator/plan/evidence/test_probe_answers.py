"""Answers of probes, and what the status keeps of them."""

import math
from typing import Any

import pytest
from indexcache_core.evidence import detector, quality
from indexcache_core.histogram import BUCKETS, bucket, of
from indexcache_operator.api.status import QualityStatus, Status
from indexcache_operator.model import ProbeResult
from indexcache_operator.plan.evidence import probe_answers
from indexcache_operator.plan.facts.memory import Memory

from tests.unit.operator.plan.build import (
    QUALITY,
    REVISION,
    SITES,
    at,
    case,
    engine,
    pod,
    snapshot,
    spec,
    status,
)

PROBED = spec(guardrails=QUALITY)
TOLERANCE = 0.02


def result(drop: float, tokens: int = 100, of_revision: str = REVISION, name: str = "a") -> ProbeResult:
    return ProbeResult(
        revision=of_revision,
        context_tokens=tokens,
        baseline_logprob=-1.0,
        canary_logprob=-1.0 - drop,
        canary_pod=name,
        incarnation="life",
    )


def observe(
    *results: ProbeResult,
    memory: Memory | None = None,
    slot: int = 9,
    asked: Any = PROBED,
    kept: Status | None = None,
) -> Memory:
    seen = snapshot(pod(), spec=asked, probe_results=results, status=kept or status())
    return probe_answers.observe(case(seen, memory=memory or Memory(key="try")), slot)


def test_without_the_guardrail_nothing_is_kept() -> None:
    memory = Memory(key="try")
    assert observe(result(0.0), memory=memory, asked=spec()) is memory


def test_the_first_look_begins_from_nothing() -> None:
    memory = observe()
    assert memory == Memory(
        key="try", quality=of([]), quality_detector=detector.resumed(of([]), quality.THRESHOLD, 9)
    )


def test_answers_are_counted_by_context_and_value() -> None:
    memory = observe(
        result(9.0, of_revision="other", name="c"),
        result(0.0),
        result(TOLERANCE / 2, 20, name="b"),
        result(0.0),
    )
    none, half = quality.value(0.0, TOLERANCE), quality.value(TOLERANCE / 2, TOLERANCE)
    assert memory.quality is not None
    assert memory.quality.counts == of([none, none, half]).counts
    assert memory.quality_counts == {"3": {str(bucket(none)): 2}, "1": {str(bucket(half)): 1}}
    assert memory.drop_sum == pytest.approx(TOLERANCE / 2)
    assert memory.answered == {("a", "life"), ("b", "life")}
    assert memory.data_at == at(0)
    before = detector.resumed(of([]), quality.THRESHOLD, 9)
    assert memory.quality_detector == before.after(memory.quality, quality.THRESHOLD, 9)


def test_answers_add_up_over_looks() -> None:
    once = observe(result(0.0), slot=9)
    twice = observe(result(0.0, name="b"), memory=once, slot=11)
    assert twice.quality is not None
    assert twice.quality.count == 2
    assert twice.quality_counts == {"3": {str(bucket(0.5)): 2}}
    assert twice.answered == {("a", "life"), ("b", "life")}
    assert once.quality_detector is not None
    assert twice.quality_detector == once.quality_detector.after(of([0.5]), quality.THRESHOLD, 11)
    assert once.quality_counts == {"3": {str(bucket(0.5)): 1}}
    quiet = observe(memory=twice)
    assert quiet == twice


@pytest.mark.parametrize(
    ("drop", "counted"),
    [
        (0.01, 0.01),
        (-0.01, -0.01),
        (9.0, 5 * TOLERANCE),
        (-9.0, -5 * TOLERANCE),
        (math.nan, 5 * TOLERANCE),
        (math.inf, 5 * TOLERANCE),
    ],
)
def test_one_answer_wholly_lost_counts_as_five_tolerances(drop: float, counted: float) -> None:
    assert observe(result(drop)).drop_sum == pytest.approx(counted)


def test_before_an_engine_said_its_k_contexts_are_not_told_apart() -> None:
    seen = snapshot(pod("a", None), spec=PROBED, probe_results=(result(0.0),))
    assert list(probe_answers.observe(case(seen, memory=Memory(key="try")), 9).quality_counts) == ["0"]


def test_what_the_status_holds_is_taken_up_after_a_restart() -> None:
    before = observe(result(0.0), result(TOLERANCE), result(0.0, 20))
    kept = probe_answers.stored(REVISION, before)
    assert kept == QualityStatus(
        revision=REVISION, counts=before.quality_counts, drop_sum=before.drop_sum, pairs=3
    )
    after = observe(kept=status(quality=kept), slot=20)
    assert before.quality is not None
    assert after.quality is not None
    assert (after.quality.counts, after.quality_counts, after.drop_sum) == (
        before.quality.counts,
        before.quality_counts,
        before.drop_sum,
    )
    middles = sum(n * (i + 0.5) / BUCKETS for i, n in enumerate(after.quality.counts))
    assert after.quality.sum == pytest.approx(middles)
    assert after.quality_detector == detector.resumed(after.quality, quality.THRESHOLD, 20)


def test_what_was_answered_of_another_revision_is_not_taken_up() -> None:
    kept = QualityStatus(revision="other", counts={"3": {"25": 4}}, drop_sum=1.0, pairs=4)
    memory = observe(kept=status(quality=kept))
    assert (memory.quality, memory.quality_counts, memory.drop_sum) == (of([]), {}, 0.0)


def test_a_memory_without_a_detector_begins_anew() -> None:
    assert observe(memory=Memory(key="try", quality=of([0.5]))).quality == of([])


def test_nothing_is_stored_without_probes() -> None:
    assert probe_answers.stored(REVISION, Memory(key="try")) is None


def test_k_is_what_the_first_engine_that_knows_its_sites_says() -> None:
    assert snapshot(pod("a", None), pod("b", engine(sites=())), pod("c")).k == 16
    assert snapshot(pod("a", None), pod("b", engine(sites=()))).k is None
    assert snapshot(pod("a", engine(sites=SITES[:1]))).k == 16

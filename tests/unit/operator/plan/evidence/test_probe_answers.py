"""Answers of probes, and what the status keeps of them."""

import math
from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_core.evidence import detector, quality
from indexcache_core.histogram import BUCKETS, bucket, of
from indexcache_operator.api.status import QualityStatus, Status
from indexcache_operator.model import ProbeResult, Uncounted
from indexcache_operator.plan.evidence import probe_answers
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.probing import Asked, Probing

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


def result(number: int, drop: float | None = 0.0, tokens: int = 100, **changes: Any) -> ProbeResult:
    values: dict[str, Any] = {
        "revision": REVISION,
        "pod": "a",
        "incarnation": "life",
        "full_logprob": -1.0,
        "reuse_logprob": None if drop is None else -1.0 - drop,
        "seconds": 2.0,
        **changes,
    }
    return ProbeResult(number=number, context_tokens=tokens, **values)


def observe(
    *results: ProbeResult,
    memory: Memory | None = None,
    asked: Any = PROBED,
    kept: Status | None = None,
) -> Memory:
    seen = snapshot(pod(), spec=asked, probe_results=results, status=kept or status())
    return probe_answers.observe(case(seen, memory=memory or Memory(key="try")))


def test_without_the_guardrail_nothing_is_kept() -> None:
    memory = Memory(key="try")
    assert observe(result(0), memory=memory, asked=spec()) is memory


def test_the_first_look_begins_from_nothing() -> None:
    begun = detector.resumed(of([]), quality.THRESHOLD, 1)
    probing = Probing(tolerance=TOLERANCE, detector=detector.resumed(of([]), 0.98, 1))
    expected = Memory(key="try", quality=of([]), quality_detector=begun, probing=probing)
    assert observe() == expected


def test_answers_are_counted_by_context_and_value() -> None:
    memory = observe(
        result(0, 9.0, revision="other", pod="c"),
        result(0),
        result(1, TOLERANCE / 2, 20, pod="b"),
        result(2),
    )
    none, half = quality.value(0.0, TOLERANCE), quality.value(TOLERANCE / 2, TOLERANCE)
    assert memory.quality is not None
    assert memory.quality.counts == of([none, none, half]).counts
    assert memory.quality_counts == {"3": {str(bucket(none)): 2}, "1": {str(bucket(half)): 1}}
    assert memory.drop_sum == pytest.approx(TOLERANCE / 2)
    assert memory.answered == {("a", "life"), ("b", "life")}
    assert (memory.data_at, memory.probed_at) == (at(0), None)
    assert memory.probing.asked == 3
    assert memory.probing.kept == of([1.0] * 3)
    assert memory.probing.last == {
        "a": Asked(ended=at(0), seconds=2.0),
        "b": Asked(ended=at(0), seconds=2.0),
    }
    before = detector.resumed(of([]), quality.THRESHOLD, 1)
    assert memory.quality_detector is not None
    assert memory.quality_detector.log_e == pytest.approx(
        before.after(memory.quality, quality.THRESHOLD, 1).log_e
    )


def test_a_pair_counts_once_whoever_brings_it_again() -> None:
    once = observe(result(0), result(1))
    assert observe(result(0, 9.0), result(1, 9.0), memory=once) == once
    assert observe(result(2), result(2, 9.0), memory=once).probing.asked == 3


@pytest.mark.parametrize(
    ("drop", "counted", "lost"),
    [
        (0.01, 0.01, 0),
        (-0.01, -0.01, 0),
        (5 * TOLERANCE - 1e-9, 5 * TOLERANCE, 0),
        (0.11, 5 * TOLERANCE, 1),
        (-9.0, -5 * TOLERANCE, 0),
        (math.nan, 5 * TOLERANCE, 1),
        (math.inf, 5 * TOLERANCE, 1),
        (None, 5 * TOLERANCE, 1),
    ],
)
def test_one_answer_wholly_lost_counts_as_five_tolerances_and_as_a_disaster(
    drop: float | None, counted: float, lost: int
) -> None:
    memory = observe(result(0, drop))
    assert memory.drop_sum == pytest.approx(counted)
    assert memory.probing.kept.counts[0] == lost


def test_a_failure_under_reuse_is_the_worst_and_lets_no_user_in() -> None:
    memory = observe(result(0, None, message="500"))
    assert memory.quality is not None
    assert (memory.quality.counts[0], memory.probing.failed, memory.answered) == (1, 1, frozenset())


def test_an_answer_in_shadow_counts_and_says_nothing_of_the_pod_under_reuse() -> None:
    memory = observe(result(0, mode=Mode.SHADOW))
    assert memory.quality is not None
    assert (memory.quality.count, memory.answered) == (1, frozenset())


@pytest.mark.parametrize("reason", Uncounted)
def test_what_nobody_can_be_blamed_for_is_shown_and_not_counted(reason: Uncounted) -> None:
    memory = observe(result(0, None, uncounted=reason), result(1, 9.0, uncounted=reason))
    assert memory.quality == of([])
    assert memory.probing.kept == of([])
    assert (memory.data_at, memory.answered) == (None, frozenset())
    assert memory.probing.uncounted == {reason.value: 2}
    assert memory.probing.last["a"].in_vain == 2
    assert memory.probing.asked == 2
    assert observe(result(2), memory=memory).probing.last["a"].in_vain == 0


@pytest.mark.parametrize(("answers", "slot"), [(1, 1), (15, 1), (16, 2), (31, 2), (32, 3), (40, 3)])
def test_a_slot_is_so_many_answers_however_long_they_took(answers: int, slot: int) -> None:
    assert probe_answers.SLOT == 16
    memory = observe(*(result(i) for i in range(answers)))
    assert memory.quality_detector is not None
    assert memory.probing.detector is not None
    assert memory.quality_detector.slot == memory.probing.detector.slot == slot


@pytest.mark.parametrize("reason", [None, Uncounted.FLIPPED])
def test_a_pair_that_was_heard_of_is_not_waited_for_any_more(reason: Uncounted | None) -> None:
    waiting = replace(observe(), probed_at=at(-3))
    assert observe(memory=waiting).probed_at == at(-3)
    assert observe(result(0, uncounted=reason), memory=waiting).probed_at is None


def test_a_status_says_seconds_to_the_millisecond() -> None:
    kept = probe_answers.stored(REVISION, observe(result(0, seconds=1.23456)))
    assert kept is not None
    assert kept.seconds == 1.235


@pytest.mark.parametrize(("counts", "lost", "kept"), [({"25": 4, "0": 2}, 1, 5), ({"0": 2}, 2, 0)])
def test_of_the_answers_that_the_status_holds_so_many_were_lost(
    counts: dict[str, int], lost: int, kept: int
) -> None:
    """Also where a value was the worst though its drop was just within five tolerances."""
    held = QualityStatus(revision=REVISION, tolerance=TOLERANCE, counts={"3": counts}, disasters=lost)
    memory = observe(kept=status(quality=held))
    assert memory.probing.kept == of([0.0] * lost + [1.0] * kept)


def test_what_was_counted_before_an_engine_said_its_k_is_of_no_context() -> None:
    seen = snapshot(pod("a", None), spec=PROBED, probe_results=(result(0),))
    assert list(probe_answers.observe(case(seen, memory=Memory(key="try"))).quality_counts) == ["0"]


def test_what_the_status_holds_is_taken_up_after_a_restart() -> None:
    flipped = result(4, uncounted=Uncounted.FLIPPED)
    before = observe(result(0), result(1, TOLERANCE), result(2, 0.0, 20), result(3, None), flipped)
    kept = probe_answers.stored(REVISION, before)
    assert kept == QualityStatus(
        revision=REVISION,
        tolerance=TOLERANCE,
        counts=before.quality_counts,
        drop_sum=before.drop_sum,
        pairs=4,
        disasters=1,
        failed=1,
        asked=5,
        uncounted={"Flipped": 1},
        seconds=10.0,
    )
    after = observe(kept=status(quality=kept))
    assert before.quality is not None
    assert after.quality is not None
    assert (after.quality.counts, after.quality_counts, after.drop_sum) == (
        before.quality.counts,
        before.quality_counts,
        before.drop_sum,
    )
    middles = sum(n * (i + 0.5) / BUCKETS for i, n in enumerate(after.quality.counts))
    assert after.quality.sum == pytest.approx(middles)
    assert after.quality_detector == detector.resumed(after.quality, quality.THRESHOLD, 1)
    expected = replace(
        before.probing,
        last={},
        before=Asked(ended=at(0), seconds=2.0),
        detector=detector.resumed(before.probing.kept, 0.98, 1),
    )
    assert after.probing == expected
    assert probe_answers.stored(REVISION, after) == kept


def test_what_was_answered_of_another_revision_is_not_taken_up() -> None:
    kept = QualityStatus(revision="other", counts={"3": {"25": 4}}, drop_sum=1.0, pairs=4, asked=4)
    memory = observe(kept=status(quality=kept))
    assert (memory.quality, memory.quality_counts, memory.drop_sum) == (of([]), {}, 0.0)
    assert memory.probing.asked == 0


def test_what_was_counted_in_another_tolerance_is_not_taken_up_and_the_draws_go_on() -> None:
    kept = QualityStatus(
        revision=REVISION, tolerance=0.1, counts={"3": {"25": 4}}, drop_sum=1.0, pairs=4, asked=4, disasters=1
    )
    memory = observe(kept=status(quality=kept))
    assert (memory.quality, memory.drop_sum, memory.probing.kept) == (of([]), 0.0, of([]))
    assert memory.probing.asked == 4


def test_a_status_of_before_disasters_were_counted_is_taken_up() -> None:
    kept = QualityStatus(revision=REVISION, counts={"3": {"25": 4, "0": 2}}, drop_sum=0.1, pairs=6)
    memory = observe(kept=status(quality=kept))
    assert memory.quality is not None
    assert memory.quality.count == 6
    assert memory.probing.kept == of([0.0] * 2 + [1.0] * 4)


def test_a_memory_without_a_detector_begins_anew() -> None:
    assert observe(memory=Memory(key="try", quality=of([0.5]))).quality == of([])


def test_nothing_is_stored_without_probes() -> None:
    assert probe_answers.stored(REVISION, Memory(key="try")) is None


def test_k_is_what_the_first_engine_that_knows_its_sites_says() -> None:
    assert snapshot(pod("a", None), pod("b", engine(sites=())), pod("c")).k == 16
    assert snapshot(pod("a", None), pod("b", engine(sites=()))).k is None
    assert snapshot(pod("a", engine(sites=SITES[:1]))).k == 16

"""Tests what certificates and detectors say together of one test."""

import math
from typing import Any

import pytest
from indexcache_core.evidence import certificate, verdict
from indexcache_core.evidence.verdict import Judgement, Verdict
from indexcache_core.histogram import Histogram, of

GOOD, SOME = of([0.9] * 200), of([0.9] * 4)


def judged(
    histogram: Histogram = SOME,
    threshold: float | None = 0.5,
    log_e: float = 0.0,
    **changes: Any,
) -> Judgement:
    """Return what is said of a test with these figures."""
    return verdict.judge(histogram, threshold, log_e=log_e, alpha=0.01, beta=0.05, **changes)


@pytest.mark.parametrize(
    ("histogram", "changes", "expected"),
    [
        (Histogram(), {}, Verdict.NO_DATA),
        (SOME, {}, Verdict.HOLDING),
        (GOOD, {}, Verdict.CERTIFIED),
        (GOOD, {"log_e": math.log(100)}, Verdict.BREACHED),
        (Histogram(), {"log_e": math.log(101)}, Verdict.BREACHED),
        (GOOD, {"log_e": math.log(99.9)}, Verdict.CERTIFIED),
        (GOOD, {"acts": False}, Verdict.OBSERVING),
        (GOOD, {"threshold": None}, Verdict.OBSERVING),
        (GOOD, {"threshold": None, "log_e": 99.0}, Verdict.OBSERVING),
    ],
)
def test_each_verdict(histogram: Histogram, changes: dict[str, Any], expected: Verdict) -> None:
    assert judged(histogram, **changes).verdict is expected


@pytest.mark.parametrize(
    ("histogram", "threshold", "binary", "expected"),
    [
        (of([1.0] * 176), 0.98, True, Verdict.CERTIFIED),
        (of([1.0] * 176), 0.98, False, Verdict.HOLDING),
        (of([0.4] * 50), 0.5, False, Verdict.HOLDING),
    ],
)
def test_what_is_lost_or_not_has_a_certificate_of_its_own(
    histogram: Histogram, threshold: float, binary: bool, expected: Verdict
) -> None:
    found = judged(histogram, threshold, binary=binary)
    assert (found.verdict, found.binary) == (expected, binary)


def test_the_figures_of_a_judgement() -> None:
    found = judged(SOME, log_e=1.5)
    expected = {"histogram": SOME, "threshold": 0.5, "log_e": 1.5, "beta": 0.05, "binary": False}
    assert vars(found) == {"verdict": Verdict.HOLDING, **expected}
    assert found.samples == 4
    assert found.mean == pytest.approx(0.9)
    assert found.lower_bound == certificate.lower_bound(SOME, 0.05)
    assert found.needed == certificate.still_needed(SOME, 0.5, 0.05)


@pytest.mark.parametrize(
    ("histogram", "changes", "expected"),
    [(GOOD, {}, 0), (SOME, {"acts": False}, 0), (SOME, {"threshold": None}, 0), (Histogram(), {}, None)],
)
def test_what_wants_nothing_needs_nothing(
    histogram: Histogram, changes: dict[str, Any], expected: int | None
) -> None:
    assert judged(histogram, **changes).needed == expected


@pytest.mark.parametrize(("log_e", "expected"), [(-math.log(0.01), True), (-math.log(0.01) - 1e-9, False)])
def test_a_breach_is_at_the_bound(log_e: float, expected: bool) -> None:
    assert verdict.breached(log_e, 0.01) is expected


V = Verdict


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([V.CERTIFIED, V.NO_DATA, V.HOLDING], V.NO_DATA),
        ([V.CERTIFIED, V.OBSERVING], V.CERTIFIED),
        ([V.OBSERVING, V.HOLDING, V.CERTIFIED], V.HOLDING),
        ([V.CERTIFIED, V.NO_DATA, V.BREACHED], V.BREACHED),
        ([V.OBSERVING], V.OBSERVING),
        ([], V.OBSERVING),
    ],
)
def test_the_worst_verdict_decides_and_nothing_is_never_certified(
    found: list[Verdict],
    expected: Verdict,
) -> None:
    assert verdict.worst(found) is expected

"""The shipped alert rules on simulated evidence: silent on healthy patterns, never on a bad one.

`python -m benchmarks.alerts` is the long form.
"""

from pathlib import Path

from benchmarks.alerts import THRESHOLD, evidence, fired

HOURS = 6


def test_healthy_patterns_raise_no_alert(binaries: Path) -> None:
    healthy = [evidence(THRESHOLD, rate=2, minutes=60 * HOURS, seed=seed) for seed in range(20)]
    assert fired(binaries, healthy) == 0


def test_a_bad_pattern_raises_one(binaries: Path) -> None:
    bad = [evidence(THRESHOLD - 0.2, rate=2, minutes=60 * HOURS, seed=seed) for seed in range(5)]
    assert fired(binaries, bad) == 5

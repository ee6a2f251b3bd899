"""Paired probes as observations."""

import math

import pytest
from indexcache_core.evidence import quality


@pytest.mark.parametrize(
    ("drop", "expected"),
    [
        (0.0, 0.5),
        (0.02, quality.THRESHOLD),
        (-0.02, 0.6),
        (0.1, 0.0),
        (-0.1, 1.0),
        (0.05, 0.25),
        (99.0, 0.0),
        (-99.0, 1.0),
        (math.inf, 0.0),
        (-math.inf, 1.0),
        (math.nan, 0.0),
    ],
)
def test_a_drop_is_an_observation(drop: float, expected: float) -> None:
    assert quality.value(drop, 0.02) == pytest.approx(expected)


@pytest.mark.parametrize("drop", [-0.1, -0.013, 0.0, 0.007, 0.1])
def test_and_back(drop: float) -> None:
    assert quality.drop(quality.value(drop, 0.02), 0.02) == pytest.approx(drop)

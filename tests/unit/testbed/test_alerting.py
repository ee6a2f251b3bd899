"""Tests from when on an alert's rule could be seen to hold."""

from collections.abc import Iterable

import pytest
from indexcache_testbed.scenario.alerting import lasting


def moments(*tenths: Iterable[int]) -> list[float]:
    return [tenth / 10 for stretch in tenths for tenth in stretch]


@pytest.mark.parametrize(
    ("held", "begin"),
    [
        ([], None),
        (moments([50]), None),  # at one moment alone: no evaluation need have met it
        (moments(range(50, 59)), None),
        (moments(range(50, 61)), 5.0),
        (moments([50], range(90, 120)), 9.0),
        (moments(range(50, 58), range(59, 66), range(80, 95)), 8.0),  # stretches with a gap aren't added up
        (moments(range(50, 75), range(90, 120)), 5.0),
    ],
)
def test_a_stretch_counts_from_its_beginning_if_an_evaluation_must_have_met_it(
    held: list[float], begin: float | None
) -> None:
    assert lasting(held, step=0.1, at_least=1.0) == begin


def test_times_as_large_as_the_clock_s_keep_their_tenths() -> None:
    epoch = 1_795_783_375.06
    assert lasting([epoch + tenth / 10 for tenth in range(11)], step=0.1, at_least=1.0) == epoch

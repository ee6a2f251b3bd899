"""Times and durations as the API writes them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from indexcache_operator.plan import clock


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90.0), ("2m", 120.0), ("1h30m", 5400.0), ("250ms", 0.25), ("1.5h", 5400.0), ("0s", 0.0)],
)
def test_durations(text: str, expected: float) -> None:
    assert clock.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "s", "5d", "5s ", "-1s"])
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration") as e:
        clock.seconds(text)
    assert repr(text) in str(e.value)


def test_a_time_is_written_in_utc_to_the_millisecond() -> None:
    there = datetime(2026, 1, 2, 5, 4, 5, 678900, tzinfo=timezone(timedelta(hours=2)))
    assert clock.stamp(there) == "2026-01-02T03:04:05.678Z"


def test_times_survive_writing_down() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    assert clock.parse(clock.stamp(now)) == now
    assert clock.age(now, "") == 0.0
    assert clock.age(now, clock.later(clock.stamp(now), 5)) == 0.0
    assert clock.age(now, clock.later(clock.stamp(now), -5)) == 5.0

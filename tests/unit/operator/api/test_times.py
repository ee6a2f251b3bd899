"""Times and durations as the API writes them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexcache_operator.api import stored, times
from indexcache_operator.api.spec import Permit
from indexcache_operator.api.status import Status
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("2m", 120.0),
        ("1h30m", 5400.0),
        ("250ms", 0.25),
        ("1.5h", 5400.0),
        ("0s", 0.0),
        ("1m1m", 120.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert times.parse(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "5d", "5s ", "-1s", "1..5s"])
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration") as e:
        times.parse(text)
    assert repr(text) in str(e.value)


def test_a_duration_beyond_the_calendar_is_cut() -> None:
    assert times.parse("9" * 31 + "h") == times.LONGEST


@pytest.mark.parametrize("text", ["0s", "250ms", "90s", "30m", "90m", "2h", "36h", "1m"])
def test_a_duration_is_written_in_one_unit(text: str) -> None:
    assert times.text(times.parse(text)) == text
    assert times.text(times.parse("60s")) == "1m"


@given(st.integers(0, 10**12))
def test_durations_survive_writing_down(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert times.parse(times.text(duration)) == duration


@pytest.mark.parametrize("value", [60, "PT1M", None, "1 minute"])
def test_a_field_takes_a_duration_in_this_form_alone(value: object) -> None:
    assert Permit.model_validate({"canary": "90s"}) == Permit(
        canary=timedelta(seconds=90), promoted=timedelta(hours=12)
    )
    with pytest.raises(ValidationError, match="expected a duration"):
        Permit.model_validate({"canary": value})


def test_a_time_is_written_in_utc_to_the_millisecond() -> None:
    there = datetime(2026, 1, 2, 5, 4, 5, 678900, tzinfo=timezone(timedelta(hours=2)))
    assert times.stamp(there) == "2026-01-02T03:04:05.678Z"


def test_a_time_that_never_was_is_absent_however_an_older_version_wrote_it() -> None:
    assert stored.read({"pausedAt": "", "phaseStartedAt": None}) == Status()
    assert "pausedAt" not in stored.dump(Status())


def test_a_time_without_a_zone_is_refused() -> None:
    assert stored.read({"pausedAt": "2026-01-02T03:04:05.678Z"}).paused_at == datetime(
        2026, 1, 2, 3, 4, 5, 678000, UTC
    )
    with pytest.raises(ValidationError, match="pausedAt"):
        stored.read({"pausedAt": "2026-01-02T03:04:05"})

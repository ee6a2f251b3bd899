"""Tests in which order Events are shown."""

from datetime import UTC, datetime, timedelta

from indexcache_operator.act.events import AHEAD, SECOND, Seconds

NOW = datetime(2026, 1, 1, 12, 0, 0, 700_000, tzinfo=UTC)
WHOLE = NOW.replace(microsecond=0)


def test_events_of_one_second_keep_their_order() -> None:
    seconds = Seconds()
    assert [seconds.next(NOW), seconds.next(NOW), seconds.next(NOW + SECOND)] == [
        WHOLE,
        WHOLE + SECOND,
        WHOLE + 2 * SECOND,
    ]


def test_time_that_passes_is_caught_up_with() -> None:
    seconds = Seconds()
    seconds.next(NOW)
    assert seconds.next(NOW + timedelta(minutes=1)) == WHOLE + timedelta(minutes=1)


def test_a_clock_that_was_set_back_is_believed() -> None:
    seconds = Seconds(last=WHOLE + AHEAD + SECOND)
    assert seconds.next(NOW) == WHOLE

"""Which steps are measured and timed."""

from indexcache_runtime.pace import GRAPHED_EVERY, TIMED_EVERY, Pace


def test_without_graphs_every_step_is_measured_and_none_is_timed() -> None:
    pace = Pace()
    assert all(pace.measure(1) for _ in range(10))
    assert not any(pace.time(4096) for _ in range(100))


def test_of_steps_that_graphs_replay_the_first_is_measured_and_then_few() -> None:
    pace = Pace(graphed_tokens=512, timed=True)
    measured = [i for i in range(3 * GRAPHED_EVERY) if pace.measure(64)]
    assert measured == [0, GRAPHED_EVERY, 2 * GRAPHED_EVERY]


def test_long_steps_are_measured_all_and_timed_now_and_then() -> None:
    pace = Pace(graphed_tokens=512, timed=True)
    assert all(pace.measure(513) for _ in range(10))
    assert [i for i in range(2 * TIMED_EVERY) if pace.time(16384)] == [0, TIMED_EVERY]
    assert not any(pace.time(512) for _ in range(100))

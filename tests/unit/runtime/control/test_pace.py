"""The strangers' share of a processor."""

import pytest
from indexcache_runtime.control.pace import Pace


def pace() -> Pace:
    return Pace(share=0.1, burst_seconds=0.5, now=100.0)


def test_a_burst_is_free() -> None:
    p = pace()
    p.used(0.5)
    assert p.pause(100.0) == 0.0


def test_what_is_overdrawn_is_waited_for_in_proportion() -> None:
    p = pace()
    p.used(0.6)
    assert p.pause(100.0) == pytest.approx(1.0)
    assert p.pause(100.4) == pytest.approx(0.6)
    assert p.pause(101.0) == pytest.approx(0.0)


def test_rest_fills_up_to_a_burst_and_no_more() -> None:
    p = pace()
    assert p.pause(1000.0) == 0.0
    p.used(0.7)
    assert p.pause(1000.0) == pytest.approx(2.0)


def test_a_flood_has_the_share_in_the_long_run() -> None:
    p, now, used = pace(), 100.0, 0.0
    while now < 200.0:
        p.used(0.003)
        used += 0.003
        now += 0.003 + p.pause(now + 0.003)
    assert used == pytest.approx(0.1 * 100.0, rel=0.1)

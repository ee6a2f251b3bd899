"""Tests which stream is handed out next, of a ring of a few."""

import functools
import itertools
from collections.abc import Callable

import pytest
from indexcache_runtime.vllm.worker.cuda.streams import Ring


def turning(*streams: int) -> Callable[[], int]:
    """Hand the streams out in turn."""
    return functools.partial(next, itertools.cycle(streams))


@pytest.mark.parametrize("before", range(5))
@pytest.mark.parametrize("avoid", [[7], [7, 9], [9, 7, 11, 3], [5]])
def test_the_next_one_is_none_of_those(before: int, avoid: list[int]) -> None:
    pool = turning(3, 5, 7, 9, 11)
    for _ in range(before):
        pool()
    ring = Ring(pool)
    for _ in range(7):
        ring.turn(avoid)
        assert pool() not in avoid


def test_where_they_are_all_there_are_only_the_first_is_avoided() -> None:
    pool = turning(3, 5, 7)
    ring = Ring(pool)
    found = []
    for _ in range(6):
        ring.turn([5, 3, 7, 8])
        found.append(pool())
    assert found
    assert 5 not in found


def test_others_draw_meanwhile() -> None:
    pool = turning(3, 5, 7, 9)
    ring = Ring(pool)
    for taken in range(9):
        ring.turn([9])
        assert pool() != 9
        for _ in range(taken):
            pool()


def test_streams_that_never_come_again_need_no_care() -> None:
    pool = functools.partial(next, itertools.count())
    ring = Ring(pool)
    ring.turn([1])
    drawn = pool()
    ring.turn([drawn + 1])
    assert pool() == drawn + 1


def test_nothing_to_avoid_draws_nothing() -> None:
    pool = turning(3, 5)
    Ring(pool).turn([])
    assert pool() == 3

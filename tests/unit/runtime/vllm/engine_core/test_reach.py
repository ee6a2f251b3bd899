"""Tests whom reuse doesn't reach."""

from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_runtime.vllm.engine_core.reach import Reach


def request(prompt: int, computed: int = 0) -> Any:
    return SimpleNamespace(num_prompt_tokens=prompt, num_computed_tokens=computed)


@pytest.mark.parametrize(
    ("tokens", "prompt", "computed", "is_beyond"),
    [
        (None, 999, 999, False),
        (40, 40, 40, False),
        (40, 41, 0, True),
        (40, 10, 41, True),
        (0, 1, 0, True),
    ],
)
def test_one_is_beyond_the_reach_by_its_prompt_or_by_what_is_computed(
    tokens: int | None, prompt: int, computed: int, is_beyond: bool
) -> None:
    reach = Reach(lambda request: False)
    reach.follow(tokens, [])
    assert reach.beyond(request(prompt, computed)) is is_beyond
    assert reach.leaves(request(prompt, computed)) is is_beyond


def test_only_who_is_exempt_is_never_beyond_it() -> None:
    exempt, other = request(50), request(50)
    reach = Reach(lambda request: request is exempt)
    reach.follow(40, [])
    assert (reach.beyond(exempt), reach.beyond(other)) == (False, True)
    assert (reach.leaves(exempt), reach.leaves(other)) == (False, True)


def test_of_those_in_flight_only_who_is_computed_leaves_with_a_shorter_reach() -> None:
    reach = Reach(lambda request: False)
    longer, waiting, short = request(50, computed=1), request(50), request(30, computed=30)
    assert reach.follow(40, [longer, waiting, short]) == [longer]
    assert reach.tokens == 40
    reach.follow(None, [])
    assert [reach.beyond(r) for r in (longer, waiting, short)] == [True, False, False]


def test_one_that_waits_is_decided_on_anew() -> None:
    reach, waiting = Reach(lambda request: False), request(50)
    assert not reach.beyond(waiting)
    assert reach.follow(40, [waiting]) == []
    assert reach.beyond(waiting)
    reach.follow(60, [waiting])
    assert not reach.beyond(waiting)
    reach.follow(49, [waiting])
    assert reach.leaves(waiting)
    assert not reach.leaves(waiting)
    reach.follow(None, [waiting])
    assert reach.beyond(waiting)


def test_the_same_reach_again_asks_nobody() -> None:
    reach = Reach(lambda request: False)
    running, exempt = request(10, computed=41), Reach(lambda request: True)
    assert reach.follow(40, [running]) == [running]
    assert reach.follow(40, [request(50, computed=50)]) == []
    assert exempt.follow(40, [request(50, computed=50)]) == []
    assert not exempt.beyond(request(50))

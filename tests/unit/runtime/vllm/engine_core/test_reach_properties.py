"""Tests that reuse reaches only as far as it is told, whatever comes in whatever order (reach_world.py)."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indexcache_core.contract import Mode
from indexcache_runtime.control.ledger import Ledger
from indexcache_runtime.vllm.engine_core.reach import Reach

from tests.unit.runtime.vllm.engine_core.reach_world import World

MODES = (Mode.ON, Mode.ON, Mode.ON, Mode.ON, Mode.SHADOW, Mode.OFF)
REACHES = (None, 4, 8, 9, 16, 30)
KINDS = ("user", "user", "user", "user", "opted-out", "probe")
ACTIONS = ("put", "kill", "add", "step", "step", "all", "append", "append", "preempt", "finish")
Script = list[tuple[str, int, int, int]]

scripts = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.integers(0, 5), st.integers(0, 5), st.integers(1, 13)),
    max_size=80,
)


def play(script: Script) -> World:
    world = World()
    world.put(Mode.ON, 9)
    for action, which, other, number in script:
        live = list(world.requests.values())
        request = live[which % len(live)] if live else None
        if action == "put":
            world.put(MODES[which], REACHES[other])
        elif action == "kill":
            world.control.kill_now()
            world.mode = Mode.TRIPPED
        elif action == "add":
            world.add([other % 2] * number + [7] * (number % 3), KINDS[which])
        elif request is None:
            continue
        elif action == "all":
            world.step({r.request_id: number for r in live})
        elif action == "step":
            company = live[other % len(live)]
            world.step({r.request_id: number for r in (request, company)})
        elif action == "append" and request.num_computed_tokens >= len(request.tokens):
            request.append(other % 2)
        elif action == "preempt":
            world.preempt(request)
        elif action == "finish":
            world.finish(request)
    return world


@pytest.mark.simulation
@settings(max_examples=400, deadline=None)
@given(scripts)
def test_reuse_reaches_no_further_and_leaves_nothing_under_a_baselines_name(script: Script) -> None:
    play(script)


def drawn(seed: int, scripts: int) -> list[Script]:
    rng = random.Random(seed)
    return [
        [(rng.choice(ACTIONS), rng.randrange(6), rng.randrange(6), rng.randrange(1, 14)) for _ in range(80)]
        for _ in range(scripts)
    ]


def play_all(scripts: list[Script]) -> list[World]:
    return [play(script) for script in scripts]


def test_what_the_property_is_about_happens() -> None:
    worlds = play_all(drawn(1, 60))
    requests = [world.control.state().requests for world in worlds]
    assert sum(r.beyond_reach for r in requests) > 20
    assert sum(r.left_reach for r in requests) > 20
    assert sum(world.control.state().steps.reuse for world in worlds) > 100
    assert sum(world.control.state().steps.reuse_all_full for world in worlds) > 100


def names_not_told(reach: Reach, request: Any) -> bool:
    return False


def never_out(reach: Reach, request: Any) -> bool:
    return False


def not_for_good(reach: Reach, request: Any) -> bool:
    return reach._exceeds(request)


def in_flight_forgotten(reach: Reach, tokens: int | None, requests: Any) -> list[Any]:
    reach.tokens = tokens
    return []


def growth_forgotten(reach: Reach, request: Any) -> bool:
    return reach.tokens is not None and request.num_prompt_tokens > reach.tokens


def probes_held(reach: Reach, request: Any) -> bool:
    longest = max(request.num_prompt_tokens, request.num_computed_tokens)
    return reach.tokens is not None and longest > reach.tokens


def steps_not_held(ledger: Ledger, requests: Any) -> bool:
    return bool(ledger._out) and not ledger._out.isdisjoint(requests)


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("owner", "name", "mutant"),
    [
        (Reach, "beyond", names_not_told),
        (Reach, "leaves", never_out),
        (Reach, "leaves", not_for_good),
        (Reach, "follow", in_flight_forgotten),
        (Reach, "_exceeds", growth_forgotten),
        (Reach, "_exceeds", probes_held),
        (Ledger, "any_out", steps_not_held),
    ],
)
def test_builds_that_forget_break_it(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, mutant: Callable[..., Any]
) -> None:
    monkeypatch.setattr(owner, name, mutant)
    with pytest.raises(AssertionError):
        play_all(drawn(0, 200))

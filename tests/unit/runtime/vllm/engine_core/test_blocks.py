"""Taint of cached blocks, against a cache that remembers under which behaviours each block was really
computed.

The scheduler here is vLLM's in the little that matters: names are taken from `request.block_hashes` when a
block is full, which is when its last token is scheduled; admission looks up the longest prefix.
"""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indexcache_runtime.vllm.engine_core.blocks import BlockNamer

from tests.unit.runtime.vllm.engine_core.blocks_world import FakeRequest, World

actions = st.lists(
    st.tuples(
        st.sampled_from(["add", "step", "ahead", "append", "flip", "preempt", "finish"]),
        st.integers(0, 5),
        st.integers(1, 13),
    ),
    max_size=80,
)


def play(world: World, script: list[tuple[str, int, int]]) -> None:
    for action, which, number in script:
        live = list(world.requests.values())
        request = live[which % len(live)] if live else None
        if action == "add":
            world.add(
                [which % 2] * number + [7] * (number % 3),
                opted_out=which == 5,
                foreign=which in (3, 4),
                apart=which in (2, 3),
            )
        elif action == "flip":
            world.behaviour, world.shadow = [None, None, None, "x", "x", "y"][which], which > 0
        elif request is None:
            continue
        elif action == "step":
            world.step(request, number, company=number % 2 == 0)
        elif action == "ahead" and request.num_computed_tokens >= len(request.tokens):
            world.step(request, 1, ahead=2)
        elif action == "append" and request.num_computed_tokens >= len(request.tokens):
            request.append(which % 2)
            world.register(request)
        elif action == "preempt":
            world.preempt(request)
        elif action == "finish":
            del world.requests[request.request_id]


@pytest.mark.simulation
@settings(max_examples=400, deadline=None)
@given(actions)
def test_nobody_reads_what_was_computed_under_a_behaviour_not_his(script: list[tuple[str, int, int]]) -> None:
    play(World(), script)


def play_all(blocks: type[BlockNamer], scripts: list[list[tuple[str, int, int]]]) -> None:
    for script in scripts:
        play(World(blocks), script)


class Unsalted(BlockNamer):
    """A build that forgot the salt."""

    def enter(self, behaviour: str | None, probes: str | None = None) -> int:
        return 0


class NotRenamed(BlockNamer):
    """A build that salts at admission only."""

    def enter(self, behaviour: str | None, probes: str | None = None) -> int:
        self.current, self.probes = behaviour, probes
        return 0


class OptOutForgotten(BlockNamer):
    """A build whose blocks know nothing of opting out."""

    def __init__(self, scheduler: object, block_size: int, opted_out: object, apart: Any) -> None:
        super().__init__(scheduler, block_size, apart=apart)


class ProbesForgotten(BlockNamer):
    """A build whose blocks know nothing of probes apart."""

    def __init__(self, scheduler: object, block_size: int, opted_out: Any, apart: object) -> None:
        super().__init__(scheduler, block_size, opted_out)


class ProbesAtAdmissionOnly(BlockNamer):
    """A build that doesn't rename probes where shadow begins."""

    def enter(self, behaviour: str | None, probes: str | None = None) -> int:
        found = super().enter(behaviour, self.probes)
        self.probes = probes
        return found


class ForeignHashersLeft(BlockNamer):
    """A build that leaves requests the hasher that they came with."""

    def _own(self, request: FakeRequest) -> None: ...


MUTANTS = [
    Unsalted,
    NotRenamed,
    OptOutForgotten,
    ForeignHashersLeft,
    ProbesForgotten,
    ProbesAtAdmissionOnly,
]


@pytest.mark.simulation
@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_property_is_broken_by_builds_that_forget(mutant: type[BlockNamer]) -> None:
    rng = random.Random(0)
    kinds = ["add", "step", "step", "step", "ahead", "append", "append", "flip", "finish"]
    scripts = [
        [(rng.choice(kinds), rng.randrange(6), rng.randrange(1, 14)) for _ in range(80)] for _ in range(500)
    ]
    with pytest.raises((AssertionError, IndexError)):  # the latter where vLLM would go down
        play_all(mutant, scripts)

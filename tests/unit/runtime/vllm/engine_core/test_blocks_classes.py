"""Tests which class a request's blocks have: by its reach, whether it is a probe, and what is in force."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_runtime.vllm.engine_core.blocks import BlockNamer
from indexcache_runtime.vllm.engine_core.hasher import ATTRIBUTE, Hasher

from tests.unit.runtime.vllm.engine_core.blocks_world import (
    PROMPT,
    SHADOW,
    SIZE,
    FakeRequest,
    World,
    baseline,
    cached_prefix,
    names,
    salts,
)


@dataclass(eq=False)
class Asked(FakeRequest):
    """A request that also knows whether reuse reaches it."""

    beyond: bool = False


def namer(**more: Any) -> BlockNamer:
    manager = SimpleNamespace(get_computed_blocks=lambda request: cached_prefix({}, request))
    return BlockNamer(
        SimpleNamespace(requests={}, kv_cache_manager=manager),
        SIZE,
        apart=lambda request: request.apart,
        beyond=lambda request: request.beyond,
        **more,
    )


@pytest.mark.parametrize(
    ("behaviour", "probes", "apart", "beyond", "expected"),
    [
        (None, None, False, False, None),
        (None, None, True, False, None),
        (None, SHADOW, False, False, None),
        (None, SHADOW, True, False, SHADOW),
        (None, SHADOW, True, True, SHADOW),
        ("x", None, False, False, "x"),
        ("x", None, False, True, None),
        ("x", None, True, False, "x"),
        ("x", SHADOW, True, False, "x"),
        ("x", SHADOW, True, True, None),
    ],
)
def test_a_request_has_the_class_of_what_computes_it(
    behaviour: str | None, probes: str | None, apart: bool, beyond: bool, expected: str | None
) -> None:
    blocks = namer()
    blocks.enter(behaviour, probes)
    request = Asked("a", list(PROMPT), names, apart=apart, beyond=beyond)
    request.update()
    blocks.lookup(request)
    assert request.block_hashes == (baseline(PROMPT) if expected is None else salts(expected, PROMPT))


def test_before_anything_is_entered_there_are_no_probes_apart() -> None:
    blocks = namer()
    request = Asked("a", list(PROMPT), names, apart=True)
    request.update()
    blocks.lookup(request)
    assert (blocks.probes, request.block_hashes) == (None, baseline(PROMPT))


def test_a_probe_reads_what_a_probe_before_it_computed() -> None:
    w = World()
    w.shadow = True
    first, second = w.add(PROMPT, apart=True), w.add(PROMPT, apart=True)
    w.step(first, len(PROMPT))
    w.step(second, 1)
    assert (second.num_computed_tokens, w.blocks.reused_tokens(second, 20)) == (21, 20)
    user = w.add(PROMPT)
    w.step(user, 1)
    assert user.num_computed_tokens == 1


def test_an_answer_of_the_class_alone_has_it_from_its_first_block_on() -> None:
    """As with several kinds of caches, where a lookup is more than the longest prefix of names."""
    w = World()
    w.behaviour = "x"
    w.run(PROMPT)
    again = w.add(PROMPT)
    w.blocks.enter("x")
    asked = 0

    def lookup(request: FakeRequest) -> tuple[list[bytes], int, int]:
        nonlocal asked
        asked += 1
        return [], (0, 0, 20)[asked - 1], 0  # only the class alone is found

    w.blocks._lookup = lookup
    w.blocks.lookup(again)
    assert getattr(again, ATTRIBUTE).first == 0
    assert w.blocks.reused_tokens(again, 20) == 20


def told(doing: str, error: Exception) -> None: ...


@pytest.mark.parametrize("made", [names, Hasher(names)])
def test_a_hasher_tells_whom_the_namer_tells(made: Hasher) -> None:
    scheduler = SimpleNamespace(requests={}, kv_cache_manager=SimpleNamespace(get_computed_blocks=None))
    assert BlockNamer(scheduler, SIZE, failed=told).hasher(made).failed is told
    assert BlockNamer(scheduler, SIZE).hasher(made).failed is None


@pytest.mark.parametrize(
    ("opted_out", "beyond", "is_renamed"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_a_request_in_flight_is_renamed_where_its_class_changes(
    opted_out: bool, beyond: bool, is_renamed: bool
) -> None:
    blocks = namer(opted_out=lambda request: request.opted_out)
    request = Asked("a", list(PROMPT), names, opted_out=opted_out, beyond=beyond, num_computed_tokens=8)
    request.update()
    blocks.current = "x"
    assert blocks.rename(request) is is_renamed
    assert request.block_hashes == (salts("x", PROMPT, 2) if is_renamed else baseline(PROMPT))
    assert blocks.rename(request) is False
    request.beyond = True
    assert blocks.rename(request) is is_renamed
    assert request.block_hashes == (salts("x>off", PROMPT, 2) if is_renamed else baseline(PROMPT))


def test_a_request_without_names_is_not_renamed() -> None:
    blocks = namer()
    blocks.current = "x"
    assert blocks.rename(Asked("a", list(PROMPT), None)) is False

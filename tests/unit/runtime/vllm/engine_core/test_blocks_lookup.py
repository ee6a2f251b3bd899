"""Tests what a request finds in the cache: the baseline's blocks, its class's, the longer of both."""

from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_runtime.vllm.engine_core.blocks import BlockNamer
from indexcache_runtime.vllm.engine_core.hasher import salted

from tests.unit.runtime.vllm.engine_core.blocks_world import (
    PROMPT,
    SIZE,
    FakeRequest,
    World,
    baseline,
    names,
    salts,
)


def test_baseline_blocks_survive_and_reuse_reads_them() -> None:
    w = World()
    w.run(PROMPT)
    w.behaviour = "x"
    longer = [*PROMPT[:20], *range(100, 120)]
    first = w.add(longer)
    w.step(first, 40)
    assert w.blocks.reused_tokens(first, 20) == 0
    again = w.add([*longer, 1])
    w.step(again, 1)
    assert (again.num_computed_tokens, w.blocks.reused_tokens(again, 40)) == (41, 20)
    w.behaviour = None
    back = w.add([*longer, 1])
    w.step(back, 1)
    assert back.num_computed_tokens == 21


def test_a_class_computed_from_the_start_is_found_when_the_baseline_is_not_cached() -> None:
    w = World()
    w.behaviour = "x"
    w.run(PROMPT)
    again = w.add(PROMPT)
    w.step(again, 1)
    assert (again.num_computed_tokens, w.blocks.reused_tokens(again, 20)) == (21, 20)


def test_who_opted_out_has_the_baselines_names() -> None:
    w = World()
    clean = w.run(PROMPT)
    w.cache.clear()
    w.behaviour = "x"
    w.run(PROMPT)
    r = w.add(PROMPT, opted_out=True)
    w.step(r, 10)
    assert (r.num_computed_tokens, w.blocks.reused_tokens(r, 0)) == (10, 0)
    w.behaviour = None
    assert w.blocks.enter(None) == 0
    w.step(r, 12)
    assert r.block_hashes == clean.block_hashes


def test_no_prefix_cache_no_names() -> None:
    w = World()
    r = FakeRequest("r", PROMPT, None)
    w.requests["r"] = r
    w.behaviour = "x"
    w.step(r, 10)
    w.behaviour = None
    assert w.blocks.enter(None) == 0


def test_names_under_reuse_go_on_from_where_the_baseline_ends() -> None:
    w = World()
    w.run(PROMPT[:8])
    w.behaviour = "x"
    r = w.add(PROMPT)
    w.step(r, 22)
    assert r.block_hashes == salts("x", PROMPT, 2)
    r.append(7)
    r.append(7)
    assert r.block_hashes == salts("x", [*PROMPT, 7, 7], 2)


def counted(w: World, r: FakeRequest) -> list[int]:
    """Return how many blocks vLLM is asked for in one lookup, each time."""
    asked: list[int] = []
    find = w.blocks._lookup

    def lookup(request: FakeRequest, *limit: Any) -> tuple[list[bytes], int, int]:
        found: tuple[list[bytes], int, int] = find(request)
        asked.append(found[1])
        return found

    w.blocks._lookup = lookup
    w.blocks.lookup(r)
    return asked


def test_the_longer_of_both_ways_is_found() -> None:
    """Baseline blocks and then the class, or the class from the start."""
    w = World()
    w.behaviour = "x"
    w.run(PROMPT)
    w.behaviour = None
    w.run(PROMPT[:5])
    w.blocks.enter("x")
    r = w.add(PROMPT)
    assert counted(w, r) == [4, 20, 20]
    assert r.block_hashes == salts("x", PROMPT, 1)
    assert w.blocks.reused_tokens(r, 20) == 16
    assert w.blocks.reused_tokens(r, 4) == 0


def test_the_class_alone_wins_where_it_reaches_further() -> None:
    w = World()
    w.behaviour = "x"
    w.run(PROMPT)
    for name in salts("x", PROMPT)[1:2]:
        del w.cache[name]
    w.behaviour = None
    w.run(PROMPT[:5])
    w.cache[salted("x", baseline(PROMPT)[1])] = [frozenset({"x"})] * SIZE
    del w.cache[baseline(PROMPT)[0]]
    w.blocks.enter("x")
    r = w.add(PROMPT)
    found = w.blocks.lookup(r)
    assert (found[1], r.block_hashes) == (20, salts("x", PROMPT))
    assert w.blocks.reused_tokens(r, 20) == 20


def test_a_lookups_limit_is_passed_on() -> None:
    w = World()
    w.blocks.enter("x")
    limits: list[tuple[Any, ...]] = []

    def lookup(request: FakeRequest, *limit: Any) -> tuple[list[bytes], int, int]:
        limits.append(limit)
        return [], 0, 0

    w.blocks._lookup = lookup
    w.blocks.lookup(w.add(PROMPT), 7, "a")
    assert limits == [(7, "a")] * 3


def test_a_prompt_looked_up_again_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM asks at every step while a request waits."""
    w = World()
    w.blocks.enter("x")
    r = w.add(PROMPT)
    made: list[bytes] = []

    def counting(name: str, block: bytes) -> bytes:
        made.append(block)
        return salted(name, block)

    for module in ("blocks", "hasher"):
        monkeypatch.setattr(f"indexcache_runtime.vllm.engine_core.{module}.salted", counting)
    for _ in range(3):
        w.blocks.lookup(r)
        assert r.block_hashes == salts("x", PROMPT)
    assert len(made) == 5
    r.append(7)
    r.append(7)
    w.blocks.lookup(r)
    assert r.block_hashes == salts("x", [*PROMPT, 7, 7])
    assert len(made) == 7  # the block that was filled, as it was filled and at its lookup
    w.blocks.enter("y")
    w.blocks.lookup(r)
    assert r.block_hashes == salts("y", [*PROMPT, 7, 7])


def test_a_request_without_a_full_block_has_no_names() -> None:
    w = World()
    w.blocks.enter("x")
    r = w.add([1, 2])
    for _ in range(2):
        w.blocks.lookup(r)
        assert r.block_hashes == []
    r.tokens += [3, 4]
    r.update()
    w.blocks.lookup(r)
    assert r.block_hashes == salts("x", [1, 2, 3, 4])


def test_a_prompt_that_was_cut_and_goes_on_otherwise_is_named_anew() -> None:
    """A streaming session: vLLM cuts the list of names, and what comes is another text."""
    w = World()
    w.behaviour = "x"
    r = w.add(PROMPT)
    w.step(r, 22)
    del r.block_hashes[2:], r.tokens[8:]
    r.tokens += [5] * 8
    r.update()
    expected = [*PROMPT[:8], *[5] * 8]
    assert r.block_hashes == salts("x", expected)
    r.num_computed_tokens = 0
    w.blocks.lookup(r)
    assert r.block_hashes == salts("x", expected)
    shorter = w.add([*PROMPT[:8], 6, 6, 6, 6])
    w.blocks.lookup(shorter)
    assert shorter.block_hashes == salts("x", [*PROMPT[:8], 6, 6, 6, 6])


def test_a_request_without_a_class_found_nothing_of_reuse() -> None:
    w = World()
    r = w.add(PROMPT)
    w.step(r, 10)
    assert w.blocks.reused_tokens(r, 8) == 0
    free = BlockNamer(
        SimpleNamespace(requests={}, kv_cache_manager=SimpleNamespace(get_computed_blocks=w._find)), SIZE
    )
    free.enter("x")
    again = w.add(PROMPT)
    again._block_hasher = names
    free.lookup(again)
    assert again.block_hashes == salts("x", PROMPT, 2)


def test_before_any_behaviour_is_entered_all_is_the_baseline() -> None:
    w = World()
    r = w.add(PROMPT)
    assert w.blocks.lookup(r) == ([], 0, 0)
    assert r.block_hashes == baseline(PROMPT)
    assert w.blocks.current is None

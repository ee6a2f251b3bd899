"""Tests requests with vLLM's own hasher, with ours around it, and what stays where one fails."""

from types import SimpleNamespace

import pytest
from indexcache_runtime.vllm.engine_core.hasher import Hasher, vllms_own, wrap_where_made

from tests.unit.runtime.vllm.engine_core.blocks_world import (
    PROMPT,
    SIZE,
    FakeRequest,
    World,
    baseline,
    names,
    salts,
)


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "waiting"])
def test_a_request_with_vllms_own_hasher_grows_under_its_class(is_running: bool) -> None:
    """Made before the plugin had its part in the engine core."""
    w = World()
    r = w.add([1, 2], foreign=True)
    if is_running:
        w.step(r, 2)
    w.behaviour = "x"
    w.step(r, 2)
    for token in range(6):
        r.append(token)
        w.step(r, 1)
    assert r.block_hashes == salts("x", r.tokens)
    w.preempt(r)
    w.behaviour = None
    w.step(r, 8)
    assert r.under == [frozenset({None})] * 8
    assert r.block_hashes == baseline(r.tokens)


def test_a_hasher_that_was_wrapped_where_it_was_made_stays_the_one_of_all_its_requests() -> None:
    module = SimpleNamespace(get_request_block_hasher=lambda block_size, hash_function: names)
    wrap_where_made(module)
    made = module.get_request_block_hasher(SIZE, None)
    early = FakeRequest("early", PROMPT, made)
    early.update()
    assert early.block_hashes == baseline(PROMPT)
    w = World()
    assert w.blocks.hasher(made) is made
    assert isinstance(made, Hasher)
    assert vllms_own(made) is vllms_own(names) is names
    assert vllms_own(None) is None


def test_the_names_that_a_request_has_survive_a_hasher_that_fails() -> None:
    w = World()
    w.behaviour = "x"
    r = w.add(PROMPT)
    w.step(r, 22)
    before = list(r.block_hashes)

    def failing(request: FakeRequest) -> list[bytes]:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError):
        w.blocks.hasher(failing)(r)
    assert r.block_hashes == before

"""Tests what becomes of a request whose lookup fails in the naming of blocks itself."""

from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_runtime.vllm.engine_core.blocks import BlockNamer

from tests.unit.runtime.vllm.engine_core.blocks_world import SIZE, FakeRequest, names

FOUND = (["block"], SIZE, 0)


def broken(request: Any) -> bool:
    raise ValueError(f"{request.request_id}: no answer")


def looked_up(**changes: Any) -> tuple[FakeRequest, Any]:
    """Look a request up under reuse, where nobody can say whether it opted out."""
    manager = SimpleNamespace(get_computed_blocks=lambda request: FOUND)
    scheduler = SimpleNamespace(requests={}, kv_cache_manager=manager)
    blocks = BlockNamer(scheduler, SIZE, broken, **changes)
    blocks.enter("on")
    request = FakeRequest("a", list(range(3 * SIZE)), names)
    request.update()
    return request, blocks.lookup(request)


def test_it_is_told_and_what_the_baseline_has_stands() -> None:
    told: list[tuple[str, str]] = []
    request, found = looked_up(failed=lambda doing, error: told.append((doing, str(error))))
    assert found == FOUND
    assert request.block_hashes == names(FakeRequest("a", request.tokens, names))
    assert told == [("looking a request up in the prefix cache", "a: no answer")]


def test_where_nobody_is_told_it_is_raised() -> None:
    with pytest.raises(ValueError, match="no answer"):
        looked_up()

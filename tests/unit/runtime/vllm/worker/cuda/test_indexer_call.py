"""Tests what stands before vLLM's function that chooses: a clock, somebody who chooses instead, both, in any
order."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_runtime.vllm.worker.cuda import indexer_call


class Clock:
    def __init__(self) -> None:
        self.marks: list[str] = []

    def mark(self, part: str) -> None:
        self.marks.append(part)


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    def sparse_attn_indexer(rows: int) -> str:
        if rows < 0:
            raise ValueError(rows)
        return "vLLM's"

    module = SimpleNamespace(sparse_attn_indexer=sparse_attn_indexer, own=sparse_attn_indexer)
    monkeypatch.setattr("importlib.import_module", lambda name: module)
    return module


def other(original: Any, rows: int) -> str:
    return f"other than {original(rows)}"


@pytest.mark.parametrize("clock_first", [True, False])
def test_a_clock_and_another_who_chooses_come_and_go_in_any_order(vllm: Any, clock_first: bool) -> None:
    clock = Clock()
    ways: list[Callable[[bool], None]] = [
        lambda wanted: indexer_call.time_by(clock, wanted),
        lambda wanted: indexer_call.choose_by(other, wanted),
    ]
    for use in ways if clock_first else ways[::-1]:
        use(True)
    assert vllm.sparse_attn_indexer(3) == "other than vLLM's"
    assert clock.marks == ["indexer", "indexer"]
    for use in ways:
        assert vllm.sparse_attn_indexer is not vllm.own
        use(False)
    assert vllm.sparse_attn_indexer is vllm.own


def test_the_time_ends_where_the_function_fails(vllm: Any) -> None:
    clock = Clock()
    indexer_call.time_by(clock, True)
    assert indexer_call.is_timed_by(clock)
    assert not indexer_call.is_timed_by(Clock())
    with pytest.raises(ValueError, match="-1"):
        vllm.sparse_attn_indexer(-1)
    assert clock.marks == ["indexer", "indexer"]
    indexer_call.time_by(clock, False)
    assert not indexer_call.is_timed_by(clock)
    assert vllm.sparse_attn_indexer is vllm.own

"""Tests what of decode the fast indexer takes, and that it asks its kernel for those rows."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from indexcache_kernels.index_topk_decode import cuda
from indexcache_kernels.index_topk_decode.cases import DecodeCase, cases
from indexcache_runtime.vllm.worker.cuda import fast_decode
from indexcache_runtime.vllm.worker.cuda.fast_decode import MOST_ROWS, FastDecode

CASES = cases()


@dataclass(frozen=True)
class Decode:
    """Holds what vLLM tells of a step's rows of decode."""

    seq_lens: torch.Tensor
    decode_lens: torch.Tensor
    block_table: torch.Tensor
    requires_padding: bool = False
    global_seq_lens: Any = None
    indices: Any = None


@dataclass(frozen=True)
class Metadata:
    """Holds what it tells of a step."""

    decode: Decode
    num_decode_tokens: int
    num_decodes: int = field(default=1)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernel take whatever its reference does."""
    monkeypatch.setattr(cuda, "takes", lambda q, cache: True)


def prepared(keys: int = 1024) -> FastDecode:
    """Return it with its workspace."""
    decode = FastDecode()
    decode._keys = keys
    decode.prepare()
    return decode


def step(c: DecodeCase, rows_each: int = 1) -> tuple[dict[str, Any], Metadata]:
    """Return the call for one layer of a step of these rows and one of prefill, and vLLM's account of it.
    Of the batch's requests and their tables the last is not the step's.
    """
    q, cache, weights, lengths, table = c.arguments("cpu")
    rows, requests = len(q), len(q) // rows_each
    call = {
        "q_quant": torch.cat([q, q[:1]]),
        "kv_cache": cache,
        "weights": torch.cat([weights, weights[:1]]),
        "topk_tokens": c.topk,
        "topk_indices_buffer": torch.full((rows + 1, c.topk), -7, dtype=torch.int32),
    }
    seq_lens = torch.cat([lengths.view(requests, rows_each), torch.zeros((1, rows_each), dtype=torch.int32)])
    lens = torch.full((requests,), rows_each, dtype=torch.int32)
    return call, Metadata(Decode(seq_lens, lens, torch.cat([table, table[:1]])), rows)


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize(
    ("name", "rows_each"), [("plain", 1), ("rows of different lengths", 1), ("rows of one request", 3)]
)
def test_each_row_is_chosen_for_over_its_own_keys(name: str, rows_each: int) -> None:
    c = CASES[name]
    call, metadata = step(c, rows_each)
    decode = prepared()
    assert decode.takes(call, metadata)
    decode.choose(call, metadata)
    assert c.errors(call["topk_indices_buffer"][:-1]) == 0
    assert call["topk_indices_buffer"][-1].eq(-7).all()


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize(
    "spoiled",
    [
        lambda m: replace(m, num_decodes=0, decode=None),
        lambda m: replace(m, num_decode_tokens=0),
        lambda m: replace(m, num_decode_tokens=MOST_ROWS + 1),
        lambda m: replace(m, num_decode_tokens=m.num_decode_tokens - 1),
        lambda m: replace(m, decode=replace(m.decode, requires_padding=True)),
        lambda m: replace(m, decode=replace(m.decode, indices=torch.zeros(1))),
        lambda m: replace(m, decode=replace(m.decode, global_seq_lens=torch.zeros(1))),
        lambda m: replace(m, decode=replace(m.decode, seq_lens=m.decode.seq_lens.repeat(1, 2))),
    ],
)
def test_what_it_does_not_know_is_vllms(spoiled: Any) -> None:
    call, metadata = step(CASES["rows of different lengths"])
    assert prepared().takes(call, metadata)
    assert not prepared().takes(call, spoiled(metadata))


def test_without_a_workspace_or_where_the_kernel_does_not_run_rows_are_vllms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call, metadata = step(CASES["plain"])
    monkeypatch.setattr(cuda, "takes", lambda q, cache: True)
    assert not FastDecode().takes(call, metadata)
    monkeypatch.setattr(cuda, "takes", lambda q, cache: False)
    assert not prepared().takes(call, metadata)


def test_its_workspace_is_made_once_for_the_longest_context(monkeypatch: pytest.MonkeyPatch) -> None:
    decode, asked = FastDecode(), []
    monkeypatch.setattr(fast_decode, "index_topk_decode", lambda q, *rest: asked.append(len(q)))
    cache = SimpleNamespace(kv_cache=torch.zeros((3, 64, 132), dtype=torch.uint8))
    indexer = SimpleNamespace(n_head=32, head_dim=128, topk_tokens=8, max_model_len=640, k_cache=cache)
    decode.warm(indexer, torch.device("cpu"))
    assert asked == [1, MOST_ROWS]  # a kernel for few rows, one for many
    assert decode.bytes == 0
    decode.prepare()
    made = decode._workspace
    decode.prepare()
    assert made is not None
    assert decode._workspace is made
    assert (made.rows, made.keys, decode.bytes) == (MOST_ROWS, 640, made.bytes)

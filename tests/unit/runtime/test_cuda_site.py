"""A CUDA site's modes, on a stand-in for vLLM's layer: what the layer's instance holds in each, and how a Shared layer's key is made."""

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from indexcache_core.contract import Site
from indexcache_runtime.engine import Row
from indexcache_runtime.vllm.architectures.deepseek_v32 import shared as shared_module
from indexcache_runtime.vllm.architectures.deepseek_v32.rows import Rows
from indexcache_runtime.vllm.architectures.deepseek_v32.site import CHOOSE, CudaSite
from indexcache_runtime.vllm.architectures.deepseek_v32.timing import Timer

KEY, HEADS = 4, 3
calls: list[dict[str, Any]] = []
"""What the kernel was called with."""


def fused_norm_rope(
    positions: torch.Tensor,
    q_c: torch.Tensor,
    index_k: Any,
    index_k_layer_norm_w: Any,
    index_k_layer_norm_bias: Any,
    index_k_layer_norm_eps: Any,
    index_k_rope_cos_sin_cache: Any,
    topk_indices_buffer: torch.Tensor,
    slot_mapping: Any = None,
    indexer_slot_mapping: Any = None,
    indexer_k_cache: Any = None,
    indexer_cache_shuffled: bool = False,
    has_indexer: bool = True,
) -> torch.Tensor:
    calls.append(dict(locals()))
    return q_c


class Layer:
    """vLLM's attention layer in what a site touches: without an indexer's work where `skip_topk` says so."""

    def __init__(self, number: int, buffer: torch.Tensor) -> None:
        self.topk_indices_buffer, self.skip_topk, self.chose = buffer, False, 0
        self.impl = SimpleNamespace(index_group=SimpleNamespace(num_layers=1, name=number), index_group_index=0)
        self.indexer_rope_emb = SimpleNamespace(cos_sin_cache="rope")
        self.indexer = SimpleNamespace(
            head_dim=KEY,
            k_norm=SimpleNamespace(weight="w", bias="b", eps=1e-6),
            k_cache=SimpleNamespace(kv_cache="cache", uses_shuffled_layout=False),
            wk_weights_proj=lambda hidden: (torch.cat([hidden + 1, hidden[:, :HEADS] + 2], 1), None),
        )
        self.slots: Any = "slots"

    def forward(self, positions: torch.Tensor, hidden_states: torch.Tensor) -> torch.Tensor:
        own = None if self.skip_topk else "own"
        norm_rope = shared_module._with_key(fused_norm_rope)
        norm_rope(positions, hidden_states, own, None, None, 1e-6, None, self.topk_indices_buffer, slot_mapping=self.slots, has_indexer=own)
        getattr(self, CHOOSE)(positions, hidden_states, None, None, None, None, None, None, None, None, None, None)
        return hidden_states

    def _sparse_indexer_and_attn(self, *args: Any) -> None:
        self.chose += 1


@pytest.fixture(autouse=True)
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    calls.clear()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(wait_stream=lambda other: None))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())


@pytest.fixture
def sites() -> list[CudaSite]:
    buffer = torch.zeros((8, 2), dtype=torch.int32)
    rows, timer, side = Rows(torch.device("cpu"), 2), Timer(), SimpleNamespace(wait_stream=lambda other: None)
    nowhere = torch.empty((8, 1), dtype=torch.int32)
    return [CudaSite(Layer(i, buffer), Site(index=i, layer=i, domain="tokens", k=2), rows, timer, nowhere, side) for i in range(3)]


def run(site: CudaSite, tokens: int = 5) -> dict[str, Any]:
    """One forward of the layer, as nn.Module would call it; what the kernel got."""
    calls.clear()
    site.layer.forward(torch.arange(tokens), torch.arange(tokens * KEY, dtype=torch.float32).view(tokens, KEY))
    (call,) = calls
    return call


def test_a_full_layer_runs_as_vllm_wrote_it(sites: list[CudaSite]) -> None:
    call = run(sites[1])
    assert call["index_k"] == "own"
    assert call["topk_indices_buffer"] is sites[1].layer.topk_indices_buffer
    assert "forward" not in vars(sites[1].layer)


@pytest.mark.parametrize("tokens", [5, shared_module.FORKED + 1])
def test_a_shared_layer_makes_its_key_and_clears_no_choice(sites: list[CudaSite], tokens: int) -> None:
    layer = sites[1].layer
    layer.topk_indices_buffer = torch.zeros((tokens, 2), dtype=torch.int32)
    sites[1].follow(sites[0], 1)
    call = run(sites[1], tokens)
    assert torch.equal(call["index_k"], torch.arange(tokens * KEY, dtype=torch.float32).view(tokens, KEY) + 1)
    assert (call["indexer_k_cache"], call["has_indexer"], call["slot_mapping"]) == ("cache", True, "slots")
    assert (call["index_k_layer_norm_w"], call["index_k_rope_cos_sin_cache"]) == ("w", "rope")
    assert call["topk_indices_buffer"].shape[1] == 1
    assert layer.impl.index_group is sites[0].layer.impl.index_group
    assert layer.impl.index_group_index == 1
    assert layer.chose == 1


def test_without_slots_no_key_is_written(sites: list[CudaSite]) -> None:
    sites[1].follow(sites[0], 1)
    sites[1].layer.slots = None
    assert run(sites[1])["indexer_k_cache"] is None


def test_back_at_the_baseline_nothing_is_left(sites: list[CudaSite]) -> None:
    layer = sites[1].layer
    before = dict(vars(layer)), vars(layer.impl).copy()
    sites[0].leads(2)
    sites[1].follow(sites[0], 1)
    sites[1].watch(compare_with=0)
    sites[1].watch()
    sites[1].follow(None)
    sites[0].leads(1)
    assert (dict(vars(layer)), vars(layer.impl)) == before
    assert sites[0].layer.impl.index_group.num_layers == 1
    assert run(sites[1])["index_k"] == "own"


def test_an_error_in_a_shared_layer_leaves_the_next_one_alone(sites: list[CudaSite], monkeypatch: pytest.MonkeyPatch) -> None:
    sites[1].follow(sites[0], 1)
    monkeypatch.setattr(Layer, "forward", lambda *args: 1 / 0)
    sites[1]._shared._forward = Layer.forward.__get__(sites[1].layer)
    with pytest.raises(ZeroDivisionError):
        sites[1].layer.forward(torch.arange(2), torch.zeros((2, KEY)))
    monkeypatch.undo()
    assert shared_module._running == []


def test_rows_are_found_in_the_batchs_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    rows = Rows(torch.device("cpu"), 2)
    rows.begin((Row("b", 105, 5), Row("a", 40, 0)))
    rows.prepared(SimpleNamespace(req_ids=["a", "c", "b"], query_start_loc_np=[0, 1, 4, 20]))
    assert rows.index is not None
    assert rows.index.tolist() == [9, 0]
    assert rows._requests is not None
    assert rows._requests.tolist() == [2, 0]
    assert rows._contexts is not None
    assert rows._contexts.tolist() == [[106], [41]]

"""A CUDA site's modes, on a stand-in for vLLM's layer: what the layer's instance holds in each, and how a
Shared layer's key is made.
"""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from indexcache_core.contract import Site
from indexcache_runtime.engine import REPLAYED_ROWS, Row
from indexcache_runtime.vllm.worker.cuda.batched_keys import BatchedKeys
from indexcache_runtime.vllm.worker.cuda.fast_indexer import FastIndexer
from indexcache_runtime.vllm.worker.cuda.sampled_rows import SampledRows
from indexcache_runtime.vllm.worker.cuda.shared_layer import KeyStream
from indexcache_runtime.vllm.worker.cuda.site import CHOOSE, CudaSite, Watch
from indexcache_runtime.vllm.worker.cuda.timing import Timer

from tests.unit.runtime.vllm.worker.cuda.standins import (
    HEADS,
    KEY,
    DeepseekV32Attention,
    calls,
    context,
    order,
    pretend,
)


@pytest.fixture(autouse=True)
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)


@pytest.fixture
def sites() -> list[CudaSite]:
    layers = [DeepseekV32Attention(i, torch.zeros((32, 2), dtype=torch.int32)) for i in range(3)]
    rows, timer, key_stream, batched_keys = (
        SampledRows(torch.device("cpu"), 2),
        Timer(),
        KeyStream.of(layers[0]),
        BatchedKeys(layers, 8),
    )
    return [
        CudaSite(
            layer,
            Site(index=i, layer=i, domain="tokens", k=2),
            rows,
            timer,
            key_stream,
            batched_keys,
            FastIndexer(rows.failure),
        )
        for i, layer in enumerate(layers)
    ]


def run(site: CudaSite, tokens: int = 5) -> list[dict[str, Any]]:
    """Run one forward of the layer, as nn.Module would call it; return what the kernel got."""
    calls.clear()
    site.layer.forward(
        torch.arange(tokens), torch.arange(tokens * KEY, dtype=torch.float32).view(tokens, KEY)
    )
    return calls


def test_a_full_layer_runs_as_vllm_wrote_it(sites: list[CudaSite]) -> None:
    assert run(sites[1]) == []
    assert order == ["attention"]
    assert not {"forward", CHOOSE} & set(vars(sites[1].layer))


def test_a_shared_layer_makes_its_key_beside_and_clears_no_choice(sites: list[CudaSite]) -> None:
    layer = sites[1].layer
    sites[1].follow(sites[0], 1)
    (call,) = run(sites[1])
    assert torch.equal(call["index_k"], torch.arange(5 * KEY, dtype=torch.float32).view(5, KEY) + 1)
    assert call["indexer_k_cache"] is layer.cache
    assert call["slot_mapping"] is context.slot_mapping["mla"]
    assert call["indexer_slot_mapping"] is context.slot_mapping["keys"]
    assert call["index_k_layer_norm_w"] is layer.indexer.k_norm.weight
    assert call["index_k_rope_cos_sin_cache"] is layer.indexer_rope_emb.cos_sin_cache
    assert call["index_rope_interleave"]
    assert call["topk_indices_buffer"].shape[1] == 1
    assert call["q_c"].shape == call["kv_c"].shape == call["k_pe"].shape == (5, 2)
    assert order == ["side waits for main", "main waits for side", "attention"]
    assert layer.impl.index_group is sites[0].layer.impl.index_group
    assert layer.impl.index_group_index == 1


def test_a_step_that_is_not_measured_keeps_its_first_token(sites: list[CudaSite]) -> None:
    taps = sites[0]._rows.taps
    x = torch.arange(6).view(6, 1)
    taps.at(torch.tensor([5, 4]))
    taps.keep(0, "x", x)
    assert taps.kept(0, "x", 2).tolist() == [[5], [4]]
    taps.reset()
    taps.keep(0, "x", x[:1])
    assert taps.kept(0, "x", 1).tolist() == [[0]]
    assert taps.bytes == 2 * REPLAYED_ROWS * 8


def test_without_slots_no_key_is_written(sites: list[CudaSite], monkeypatch: pytest.MonkeyPatch) -> None:
    sites[1].follow(sites[0], 1)
    monkeypatch.setattr(context, "attn_metadata", None)
    assert run(sites[1]) == []
    assert order[-1] == "attention"


def test_what_it_compiles_first_writes_nowhere(sites: list[CudaSite]) -> None:
    sites[1]._shared_layer.warm((1, 2))
    (call,) = calls
    assert (
        call["slot_mapping"].tolist()
        == call["indexer_slot_mapping"].tolist()
        == [-1] * len(call["positions"])
    )
    assert call["index_k"].stride() == (KEY + HEADS, 1)


def test_back_at_the_baseline_nothing_is_left(sites: list[CudaSite]) -> None:
    layer = sites[1].layer
    before = dict(vars(layer)), vars(layer.impl).copy()
    sites[0].leads(2)
    sites[1].follow(sites[0], 1)
    sites[1].watch(Watch.COMPARE, compare_with=0)
    sites[1].watch(Watch.NOTHING)
    assert CHOOSE in vars(layer)  # it waits for its key still
    sites[1].follow(None)
    sites[0].leads(1)
    assert (dict(vars(layer)), vars(layer.impl)) == before
    assert sites[0].layer.impl.index_group.num_layers == 1
    assert run(sites[1]) == []


def test_rows_are_found_in_the_batchs_order() -> None:
    rows = SampledRows(torch.device("cpu"), 2)
    rows.begin((Row("b", 105, 5), Row("a", 40, 0)))
    rows.prepared(SimpleNamespace(req_ids=["a", "c", "b"], query_start_loc_np=[0, 1, 4, 20]), tapped=False)
    assert rows.index is not None
    assert rows.index.tolist() == [9, 0]
    assert rows.positions is not None
    assert rows.positions.tolist() == [105, 40]
    assert rows._requests is not None
    assert rows._requests.tolist() == [2, 0]
    assert rows._contexts is not None
    assert rows._contexts.tolist() == [[106], [41]]


def test_what_measuring_took_comes_with_what_was_measured(
    sites: list[CudaSite], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []
    rows = sites[0]._rows

    def compare(site: int, *args: Any) -> None:
        compared.append(site)
        rows._measured[site] = torch.tensor([0.5]), torch.tensor([0.25])

    monkeypatch.setattr(rows, "compare", compare)
    rows.begin((Row("a", 4, 4),))
    rows.prepared(SimpleNamespace(req_ids=["a"], query_start_loc_np=[0, 5]), tapped=False)
    sites[0].watch(Watch.KEEP)
    for site in sites[1:]:
        site.watch(Watch.COMPARE, compare_with=0)
    for site in sites:
        getattr(site.layer, CHOOSE)(
            torch.arange(5),
            None,
            None,
            None,
            torch.zeros((5, 1, 2)),
            None,
            torch.zeros((5, 1)),
            None,
            None,
            None,
            None,
            None,
        )
    pending = rows.take()
    assert pending is not None
    measured = pending()
    assert compared == [1, 2]
    assert measured.seconds == pytest.approx(0.006)
    assert (measured.overlap, measured.recall) == ({1: [0.5], 2: [0.5]}, {1: [0.25], 2: [0.25]})
    assert len(rows._events._free) == 4
    assert rows.take() is None

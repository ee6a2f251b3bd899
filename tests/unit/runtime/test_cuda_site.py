"""A CUDA site's modes, on a stand-in for vLLM's layer: what the layer's instance holds in each, and how a Shared layer's key is made."""

import contextlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from indexcache_core.contract import Site
from indexcache_runtime.engine import Row
from indexcache_runtime.vllm.architectures.deepseek_v32.rows import Rows
from indexcache_runtime.vllm.architectures.deepseek_v32.shared import Beside
from indexcache_runtime.vllm.architectures.deepseek_v32.site import CHOOSE, CudaSite
from indexcache_runtime.vllm.architectures.deepseek_v32.timing import Timer

KEY, HEADS = 4, 3
calls: list[dict[str, Any]] = []
"""What the kernel that writes keys was called with."""
order: list[str] = []
"""What waited for what, and attention's turn."""
context = SimpleNamespace(attn_metadata="there", slot_mapping={"mla": "slots", "keys": "key slots"})


class Layer:
    """vLLM's attention layer in what a site touches: without an indexer's work where `skip_topk` says so."""

    def __init__(self, number: int, buffer: torch.Tensor) -> None:
        self.topk_indices_buffer, self.skip_topk, self.chose = buffer, False, 0
        self.impl = SimpleNamespace(index_group=SimpleNamespace(num_layers=1, name=number), index_group_index=0)
        self.rotary_emb = SimpleNamespace(cos_sin_cache=torch.zeros((9, 2)))
        self.indexer_rope_emb = SimpleNamespace(cos_sin_cache="rope")
        self.q_a_layernorm = SimpleNamespace(weight=torch.zeros(2))
        self.layer_name, self._index_rope_interleave = "mla", True
        self.indexer = SimpleNamespace(
            head_dim=KEY,
            n_head=HEADS,
            k_norm=SimpleNamespace(weight="w", bias="b", eps=1e-6),
            k_cache=SimpleNamespace(kv_cache="cache", uses_shuffled_layout=False, prefix="keys"),
            wk_weights_proj=lambda hidden: (torch.cat([hidden + 1, hidden[:, :HEADS] + 2], 1), None),
        )

    def forward(self, positions: torch.Tensor, hidden_states: torch.Tensor) -> torch.Tensor:
        getattr(self, CHOOSE)(positions, hidden_states, None, None, None, None, None, None, None, None, None, None)
        return hidden_states

    def _sparse_indexer_and_attn(self, *args: Any) -> None:
        self.chose += 1
        order.append("attention")


@pytest.fixture(autouse=True)
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    calls.clear()
    order.clear()
    kernels, forward = ModuleType("kernels"), ModuleType("forward")
    kernels.fused_norm_rope = lambda positions, **kwargs: calls.append({"positions": positions} | kwargs)  # type: ignore[attr-defined]
    forward.get_forward_context = lambda: context  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm.models.deepseek_v32.common.kernels", kernels)
    monkeypatch.setitem(sys.modules, "vllm.forward_context", forward)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device, priority: stream("side"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream("main"))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())


def stream(name: str) -> Any:
    return SimpleNamespace(name=name, wait_stream=lambda other: order.append(f"{name} waits for {other.name}"))


@pytest.fixture
def sites() -> list[CudaSite]:
    layers = [Layer(i, torch.zeros((32, 2), dtype=torch.int32)) for i in range(3)]
    rows, timer, beside = Rows(torch.device("cpu"), 2), Timer(), Beside.of(layers[0])
    return [CudaSite(layer, Site(index=i, layer=i, domain="tokens", k=2), rows, timer, beside) for i, layer in enumerate(layers)]


def run(site: CudaSite, tokens: int = 5) -> list[dict[str, Any]]:
    """One forward of the layer, as nn.Module would call it; what the kernel got."""
    calls.clear()
    site.layer.forward(torch.arange(tokens), torch.arange(tokens * KEY, dtype=torch.float32).view(tokens, KEY))
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
    assert (call["indexer_k_cache"], call["slot_mapping"], call["indexer_slot_mapping"]) == ("cache", "slots", "key slots")
    assert (call["index_k_layer_norm_w"], call["index_k_rope_cos_sin_cache"], call["index_rope_interleave"]) == ("w", "rope", True)
    assert call["topk_indices_buffer"].shape[1] == 1
    assert call["q_c"].shape == call["kv_c"].shape == call["k_pe"].shape == (5, 2)
    assert order == ["side waits for main", "main waits for side", "attention"]
    assert layer.impl.index_group is sites[0].layer.impl.index_group
    assert layer.impl.index_group_index == 1


def test_without_slots_no_key_is_written(sites: list[CudaSite], monkeypatch: pytest.MonkeyPatch) -> None:
    sites[1].follow(sites[0], 1)
    monkeypatch.setattr(context, "attn_metadata", None)
    assert run(sites[1]) == []
    assert order[-1] == "attention"


def test_what_it_compiles_first_writes_nowhere(sites: list[CudaSite]) -> None:
    sites[1]._shared.warm()
    (call,) = calls
    assert call["slot_mapping"].tolist() == call["indexer_slot_mapping"].tolist() == [-1] * len(call["positions"])
    assert call["index_k"].stride() == (KEY + HEADS, 1)


def test_back_at_the_baseline_nothing_is_left(sites: list[CudaSite]) -> None:
    layer = sites[1].layer
    before = dict(vars(layer)), vars(layer.impl).copy()
    sites[0].leads(2)
    sites[1].follow(sites[0], 1)
    sites[1].watch(compare_with=0)
    sites[1].watch()
    assert CHOOSE in vars(layer)  # it waits for its key still
    sites[1].follow(None)
    sites[0].leads(1)
    assert (dict(vars(layer)), vars(layer.impl)) == before
    assert sites[0].layer.impl.index_group.num_layers == 1
    assert run(sites[1]) == []


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


class Event:
    """A stand-in for a CUDA event: time passes by 2 ms between any two that are recorded."""

    clock = 0

    def __init__(self, enable_timing: bool = False) -> None:
        self.at = 0

    def record(self) -> None:
        Event.clock += 2
        self.at = Event.clock

    def synchronize(self) -> None: ...

    def elapsed_time(self, later: "Event") -> float:
        return later.at - self.at


def test_what_measuring_took_comes_with_what_was_measured(sites: list[CudaSite], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *args, pin_memory=False, **kwargs: empty(*args, **kwargs))
    compared: list[int] = []
    rows = sites[0]._rows

    def compare(site: int, *args: Any) -> None:
        compared.append(site)
        rows._measured[site] = torch.tensor([0.5]), torch.tensor([0.25])

    monkeypatch.setattr(rows, "compare", compare)
    rows.begin((Row("a", 4, 4),))
    rows.prepared(SimpleNamespace(req_ids=["a"], query_start_loc_np=[0, 5]))
    sites[0].watch(keep=True)
    for site in sites[1:]:
        site.watch(compare_with=0)
    for site in sites:
        getattr(site.layer, CHOOSE)(None, None, None, None, torch.zeros((5, 1, 2)), None, torch.zeros((5, 1)), None, None, None, None, None)
    pending = rows.take()
    assert pending is not None
    measured = pending()
    assert compared == [1, 2]
    assert (measured.seconds, measured.overlap, measured.recall) == (0.004, {1: [0.5], 2: [0.5]}, {1: [0.25], 2: [0.25]})
    assert len(rows._events._free) == 4
    assert rows.take() is None

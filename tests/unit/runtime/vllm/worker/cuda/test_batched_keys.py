"""Batched keys, on stand-ins: one launch for all Shared layers of a graph, and what a replay leaves for
measuring.
"""

from typing import Any

import pytest
import torch
from indexcache_kernels.index_keys import triton as kernel
from indexcache_runtime.vllm.worker.cuda.batched_keys import BatchedKeys

from tests.unit.runtime.vllm.worker.cuda.standins import KEY, DeepseekV32Attention, launches, pretend

TOKENS = 3


@pytest.fixture(autouse=True)
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)


@pytest.fixture
def layers() -> list[DeepseekV32Attention]:
    buffer = torch.zeros((32, 2), dtype=torch.int32)
    return [DeepseekV32Attention(i, buffer) for i in range(5)]


def ran(keys: BatchedKeys, sites: tuple[int, ...]) -> list[torch.Tensor]:
    """Return what these Shared layers were given."""
    hidden = [torch.full((TOKENS, KEY), float(site), dtype=torch.bfloat16) for site in sites]
    for site, x in zip(sites, hidden, strict=True):
        keys.add(site, torch.arange(TOKENS), x, torch.arange(TOKENS))
    return hidden


def test_the_last_shared_layer_makes_all_keys(layers: list[DeepseekV32Attention]) -> None:
    keys = BatchedKeys(layers, 8)
    with keys.capturing("FSFSS") as kept:
        hidden = ran(keys, (1, 3))
        assert launches == []
        hidden += ran(keys, (4,))
        ((table, calls, like, positions, rope),) = launches
    assert torch.equal(table, kernel.table_of(keys._indexers))
    assert calls[0].tolist() == [1, 3, 4]
    assert calls[1].tolist() == [x.data_ptr() for x in hidden]
    assert like is keys._indexers[0]
    assert positions.tolist() == [0, 1, 2]
    assert (rope.table, rope.interleaved, rope.eps) == (layers[0].indexer_rope_emb.cos_sin_cache, True, 1e-6)
    assert kept.hidden == {}  # what ran without a graph is not held


def test_a_captured_launch_reads_the_addresses_of_the_capture(
    layers: list[DeepseekV32Attention], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = BatchedKeys(layers, 8)
    with keys.capturing("FSSFF") as kept:
        ran(keys, (1, 2))
        warm = kept.calls
        assert warm is not None
        before = warm.clone()
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        hidden = ran(keys, (1, 2))
        assert torch.equal(warm, before)  # a copy would be captured, too
    assert kept.calls is warm
    assert launches[1][1] is warm
    assert warm[1].tolist() == [x.data_ptr() for x in hidden]
    assert torch.equal(kept.hidden[2], hidden[1])


def test_what_it_compiles_first_writes_nowhere(
    layers: list[DeepseekV32Attention], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[torch.Tensor] = []
    calls_of = kernel.calls_of

    def watched(sites: Any, hidden: Any, slots: Any) -> Any:
        made.extend(slots)
        return calls_of(sites, hidden, slots)

    monkeypatch.setattr(kernel, "calls_of", watched)
    BatchedKeys(layers, 8).warm()
    assert [len(launch[3]) for launch in launches] == [16, 32, 64]
    assert all((slots == -1).all() for slots in made)


def test_what_graphs_hold_is_told_before(layers: list[DeepseekV32Attention]) -> None:
    assert BatchedKeys(layers, 8).holds("FSFSS") == 8 * 3 * (KEY + KEY) * 2
    assert BatchedKeys(layers, 8).holds("FFFFF") == 0


def test_leaders_write_where_nobody_else_does(layers: list[DeepseekV32Attention]) -> None:
    keys, own = BatchedKeys(layers, 8), layers[0].topk_indices_buffer
    with keys.capturing("FSFFS") as kept:
        assert kept.chosen.keys() == {0, 3}
        reads = [layer.topk_indices_buffer for layer in layers]
        assert [layer.impl.topk_indices_buffer for layer in layers] == reads
        assert reads[0] is reads[1] is kept.chosen[0]
        assert reads[3] is reads[4] is kept.chosen[3]
        assert reads[2] is own  # nobody follows it
        assert kept.chosen[0].shape == (8, 2)
    assert all(layer.topk_indices_buffer is layer.impl.topk_indices_buffer is own for layer in layers)
    assert all(layer.impl._indexer is layer.indexer for layer in layers)
    again = keys.bytes
    with keys.capturing("FSFFS") as more:
        assert more.chosen[0] is kept.chosen[0]
    assert keys.bytes == again


def test_a_capture_that_fails_leaves_nothing_behind(layers: list[DeepseekV32Attention]) -> None:
    keys, own = BatchedKeys(layers, 8), layers[0].topk_indices_buffer

    def fail() -> None:
        with keys.capturing("FSSSS"):
            ran(keys, (1,))
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        fail()
    assert keys.kept is None
    assert all(layer.topk_indices_buffer is layer.impl.topk_indices_buffer is own for layer in layers)
    with keys.capturing("FSFFF"):
        ran(keys, (1,))
    assert launches[0][1][0].tolist() == [1]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda layer: setattr(layer.indexer.wk_weights_proj, "weight", torch.zeros((19, KEY))),
            "weight of indexer 2: .*float32; ",
        ),
        (
            lambda layer: setattr(layer.indexer.k_cache, "kv_cache", torch.zeros((3, 4, 8))),
            "cache of indexer 2: ",
        ),
    ],
)
def test_what_the_kernel_does_not_take_is_said(
    layers: list[DeepseekV32Attention], spoil: Any, said: str
) -> None:
    spoil(layers[2])
    with pytest.raises(ValueError, match=said):
        BatchedKeys(layers, 8)

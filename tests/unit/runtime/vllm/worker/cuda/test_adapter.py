"""The CUDA adapter, whole, on stand-ins for vLLM's layers and runner: what a plan does to them, and what
comes back of a step.
"""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from indexcache_core.contract import Indexer, Mode
from indexcache_runtime.engine import StepPlan
from indexcache_runtime.vllm.worker.architecture import Unfit
from indexcache_runtime.vllm.worker.cuda.adapter import CudaAdapter
from indexcache_runtime.vllm.worker.cuda.build import build

from tests.unit.runtime.vllm.worker.cuda.adapter_world import ROWS, draw_of, model, replay, runner, step
from tests.unit.runtime.vllm.worker.cuda.standins import (
    DeepseekV32Attention,
    FlashAttnMLASparseImpl,
    FlashMLASparseImpl,
    order,
)

pytestmark = pytest.mark.usefixtures("no_device")


def test_the_baseline_touches_nothing(engine: tuple[CudaAdapter, Any, list[DeepseekV32Attention]]) -> None:
    def held() -> list[dict[str, Any]]:
        return [
            {name: value for name, value in vars(layer).items() if name != "chose"} for layer in engine[2]
        ]

    before = held()
    assert step(engine, StepPlan(Mode.ON, "FSSF", 1, ROWS)) is not None
    step(engine, None)
    assert held() == before
    assert order == ["attention"] * 4


def test_shadow_measures_what_a_full_site_chose_against_its_leader(
    engine: tuple[CudaAdapter, Any, list[DeepseekV32Attention]],
) -> None:
    found = step(engine, StepPlan(Mode.SHADOW, "FSFS", 1, ROWS, draw_of("FSFS", 1)))
    assert found is not None
    assert found.overlap == {1: [0.5, 0.5]}  # layer 0 chose 0 and 1, layer 1 chose 1 and 2
    assert found.recall == {1: [0.5, 0.5]}
    assert found.seconds == pytest.approx(0.004)  # of the device, and of the host before and after
    assert not any(layer.skip_topk for layer in engine[2])
    other = step(engine, StepPlan(Mode.SHADOW, "FSFS", 1, ROWS, draw_of("FSFS", 3)))
    assert other is not None
    assert other.overlap.keys() == {3}  # one site in four is drawn


def test_reuse_measures_what_is_read_against_a_fresh_choice(
    engine: tuple[CudaAdapter, Any, list[DeepseekV32Attention]],
) -> None:
    found = step(engine, StepPlan(Mode.ON, "FSSF", 1, ROWS, draw_of("FSSF", 1)))
    assert found is not None
    assert (found.overlap, found.recall) == ({1: [0.5, 0.5]}, {1: [0.5, 0.5]})
    assert [layer.skip_topk for layer in engine[2]] == [False, True, True, False]
    assert [layer.impl.index_group.name for layer in engine[2]] == [0, 0, 0, 3]
    assert engine[2][0].impl.index_group.num_layers == 3
    assert order.count("main waits for side") == 2


def test_streams_of_the_shared_expert_and_of_leaders_are_told_for_graphs(
    engine: tuple[CudaAdapter, Any, list[DeepseekV32Attention]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vllm.utils.torch_utils.aux_stream", lambda: SimpleNamespace(stream_id=70))
    assert engine[0]._streams("FSSF") == [70, 0, 3]
    monkeypatch.setattr("vllm.utils.torch_utils.aux_stream", lambda: None)
    assert engine[0]._streams("FSFF") == [0, 2, 3]


@pytest.mark.parametrize(
    ("mode", "pattern"), [(Mode.SHADOW, "FSFS"), (Mode.SHADOW, "FSSF"), (Mode.ON, "FSSF"), (Mode.ON, "FSFS")]
)
def test_a_replayed_step_is_measured_as_any_other(
    engine: tuple[CudaAdapter, Any, list[DeepseekV32Attention]], mode: Mode, pattern: str
) -> None:
    for site in (i for i, letter in enumerate(pattern) if letter == "S"):
        draw = draw_of(pattern, site)
        eager = step(engine, StepPlan(mode, pattern, 1, ROWS, draw))
        replayed = replay(engine, StepPlan(mode, pattern, 1, ROWS, draw, replayed=True))
        assert eager is not None
        assert replayed is not None
        assert (replayed.overlap, replayed.recall) == (eager.overlap, eager.recall)
        assert replayed.overlap.keys() == replayed.recall.keys() == {site}
        assert replayed.seconds == pytest.approx(
            0.002
        )  # of the host; the rest is told by how much longer the step took
        assert not order.count("side waits for main")
    step(engine, None)
    assert engine[0]._rows.taps._places.count_nonzero() == 0
    buffers = {
        id(x) for layer in engine[2] for x in (layer.topk_indices_buffer, layer.impl.topk_indices_buffer)
    }
    assert len(buffers) == 1  # all read from vLLM's own again


def test_from_one_mode_to_the_other_and_back(
    engine: tuple[CudaAdapter, Any, list[DeepseekV32Attention]],
) -> None:
    """What graphs of one mode keep is not what those of the other do, in their dtypes either."""
    for mode in (Mode.SHADOW, Mode.ON, Mode.SHADOW, Mode.ON):
        assert replay(engine, StepPlan(mode, "FSSF", 1, ROWS, replayed=True)) is not None


def test_from_reuse_to_what_is_beyond_its_reach_and_back_no_graphs_change(
    engine: tuple[CudaAdapter, Any, list[DeepseekV32Attention]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is measured all Full in mode on runs without graphs: shadow's would take the place of the
    pattern's.
    """
    cuda, _, layers = engine
    used: list[tuple[str | None, bool]] = []
    own = cuda._graphs.use

    def use(pattern: str | None, *, eager: bool, indexer: Indexer = Indexer.NATIVE) -> None:
        used.append((pattern, eager))
        own(pattern, eager=eager, indexer=indexer)

    monkeypatch.setattr(cuda._graphs, "use", use)
    for _ in range(2):
        step(engine, StepPlan(Mode.ON, "FSFS", 1, replayed=True))
        assert [layer.skip_topk for layer in layers] == [False, True, False, True]
        found = step(engine, StepPlan(Mode.SHADOW, "FSFS", 1, ROWS, draw_of("FSFS", 1)))
        assert not any(layer.skip_topk for layer in layers)
        assert found is not None
        assert found.overlap == {1: [0.5, 0.5]}
    assert used == [("FSFS", False), (None, True)] * 2


def test_what_the_device_holds_is_told_once_it_changed(
    engine: tuple[CudaAdapter, Any, list[DeepseekV32Attention]],
) -> None:
    told = [step(engine, StepPlan(Mode.ON, "FSSF", 1, rows)) for rows in ((), ROWS, ROWS, ())]
    devices = [None if m is None else m.device for m in told]
    assert [d is not None for d in devices] == [True, True, False, False]
    assert devices[0] is not None
    assert devices[1] is not None
    assert 0 < devices[0].scratch_bytes < devices[1].scratch_bytes


def test_a_timed_step_tells_its_parts(engine: tuple[CudaAdapter, Any, list[DeepseekV32Attention]]) -> None:
    found = step(engine, StepPlan(Mode.OFF, timed=True))
    assert found is not None
    assert found.parts is not None
    assert (found.parts.indexer, found.parts.attention, found.parts.rest) == pytest.approx((0.0, 0.008, 0.01))


@pytest.mark.parametrize("impl", [FlashAttnMLASparseImpl, FlashMLASparseImpl])
def test_groups_are_as_large_as_the_pattern_says_and_of_one_at_the_baseline(
    layers: list[DeepseekV32Attention], impl: type[FlashMLASparseImpl]
) -> None:
    """FLASH_ATTN_MLA_SPARSE converts a choice once for a group of several layers, and asks the group how many
    they are.
    """
    for layer in layers:
        layer.impl = impl(layer.number)
        layer.impl._indexer = layer.indexer
    r = runner()
    engine = build(model(layers), r), r, layers
    own = [layer.impl.index_group for layer in layers]
    step(engine, StepPlan(Mode.ON, "FSSF"))
    assert [(layer.impl.index_group.name, layer.impl.index_group_index) for layer in layers] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (3, 0),
    ]
    assert [own[0].num_layers, own[3].num_layers] == [3, 1]
    step(engine, None)
    assert [(layer.impl.index_group, layer.impl.index_group_index) for layer in layers] == [
        (group, 0) for group in own
    ]
    assert [group.num_layers for group in own] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda layers, r: delattr(r, "cudagraph_manager"), "only the second is supported"),
        (
            lambda layers, r: setattr(layers[2], "impl", SimpleNamespace()),
            "attention backend: SimpleNamespace; only FLASH_ATTN_MLA_SPARSE and FLASHMLA_SPARSE are "
            "supported, remove --attention-backend",
        ),
        (
            lambda layers, r: delattr(layers[0].indexer, "softmax_scale"),
            "DeepseekV32Attention.indexer.softmax_scale is not there",
        ),
        (lambda layers, r: delattr(r, "attn_groups"), "SimpleNamespace.attn_groups is not there"),
        (lambda layers, r: layers.clear(), "has no indexers"),
        (
            lambda layers, r: setattr(
                layers[1], "topk_indices_buffer", torch.zeros((32, 2), dtype=torch.int32)
            ),
            "one buffer",
        ),
    ],
)
def test_what_does_not_fit_is_said(layers: list[DeepseekV32Attention], spoil: Any, said: str) -> None:
    r = runner()
    own = r.prepare_inputs
    spoil(layers, r)
    with pytest.raises(Unfit, match=said):
        build(model(layers), r)
    assert r.prepare_inputs is own


def test_another_card_is_refused(layers: list[DeepseekV32Attention], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (10, 0))
    with pytest.raises(Unfit, match=r"compute capability 10\.0"):
        build(model(layers), runner())

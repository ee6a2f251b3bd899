"""The CUDA adapter, whole, on stand-ins for vLLM's layers and runner: what a plan does to them, and what
comes back of a step.
"""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from indexcache_core.contract import Indexer, Mode
from indexcache_runtime.engine import Measured, Row, StepPlan
from indexcache_runtime.vllm.worker.architecture import Unfit
from indexcache_runtime.vllm.worker.cuda import graphs, indexer_call, seam
from indexcache_runtime.vllm.worker.cuda.adapter import CudaAdapter
from indexcache_runtime.vllm.worker.cuda.build import build
from indexcache_runtime.vllm.worker.cuda.fast_indexer import FastIndexer
from indexcache_runtime.vllm.worker.cuda.sampled_rows import checked, drawn
from indexcache_runtime.vllm.worker.failure import Failure

from tests.unit.runtime.vllm.worker.cuda.standins import (
    KEY,
    DeepseekV32Attention,
    FlashAttnMLASparseImpl,
    FlashMLASparseImpl,
    context,
    order,
    pretend,
)

TOKENS = 5
HELD = graphs.HeldGraphs(0, "", 0, 0)
ROWS = (Row("b", 3, 1), Row("a", 9, 0))
"""In a batch of a (one token), then b (four)."""


@pytest.fixture(autouse=True)
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    monkeypatch.setattr(seam, "misfits", lambda found, signatures=seam.SIGNATURES: [])
    monkeypatch.setattr(
        context,
        "attn_metadata",
        {"keys": SimpleNamespace(block_table=torch.zeros((2, 3), dtype=torch.int32))},
    )
    for hook in (graphs.DISPATCH, indexer_call.INDEXER):
        monkeypatch.setattr(hook, "use", lambda user, wanted: None)


@pytest.fixture
def layers() -> list[DeepseekV32Attention]:
    buffer = torch.zeros((32, 2), dtype=torch.int32)
    return [DeepseekV32Attention(i, buffer) for i in range(4)]


def model(layers: list[DeepseekV32Attention]) -> Any:
    return SimpleNamespace(
        named_modules=lambda: [(f"model.layers.{i}.self_attn", layer) for i, layer in enumerate(layers)]
    )


def runner() -> Any:
    names = [name for name in seam.RUNNER if name != "prepare_inputs"]
    batch = SimpleNamespace(req_ids=["a", "b"], query_start_loc_np=[0, 1, 5])
    return SimpleNamespace(cudagraph_manager=None, prepare_inputs=lambda *args: batch, **dict.fromkeys(names))


@pytest.fixture
def engine(layers: list[DeepseekV32Attention]) -> tuple[CudaAdapter, Any, list[DeepseekV32Attention]]:
    r = runner()
    return build(model(layers), r), r, layers


def forward(layers: list[DeepseekV32Attention]) -> None:
    order.clear()
    for layer in layers:
        layer.forward(torch.arange(TOKENS), torch.zeros((TOKENS, KEY), dtype=torch.bfloat16))


def step(
    engine: tuple[CudaAdapter, Any, list[DeepseekV32Attention]], plan: StepPlan | None
) -> Measured | None:
    """Run one step of a batch of two requests; return what came back of it."""
    cuda, r, layers = engine
    cuda.begin(plan)
    r.prepare_inputs()
    forward(layers)
    cuda.ran()
    pending = cuda.take()
    return None if pending is None else pending()


def draw_of(pattern: str, site: int) -> int:
    """Draw until this site alone is measured."""
    return next(d for d in range(1000) if drawn(StepPlan(Mode.ON, pattern, draw=d)) == [site])


def replay(engine: tuple[CudaAdapter, Any, list[DeepseekV32Attention]], plan: StepPlan) -> Measured | None:
    """Replay the same from a graph: what it keeps, it keeps at every replay, and nothing else can be looked
    at."""
    cuda, r, layers = engine
    graphs = SimpleNamespace(
        failure=Failure(),
        replays=lambda pattern: True,
        use=lambda pattern, eager: used.append((pattern, eager)),
        more=lambda: None,
        replayed=None,
        held=HELD,
    )
    used: list[tuple[str | None, bool]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "_graphs", graphs)
        patch.setattr(cuda._batched_keys, "_tokens", TOKENS)
        patch.setattr(r, "execute_model_state", SimpleNamespace(attn_metadata=context.attn_metadata))
        cuda.begin(plan)
        r.prepare_inputs()
        with cuda._keeping() as graphs.replayed:
            forward(layers)  # vLLM runs it once before it captures
            patch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
            forward(layers)
        cuda.ran()
        pending = cuda.take()
        found = None if pending is None else pending()
    assert used == [(plan.pattern if plan.mode is Mode.ON else "F" * len(layers), False)]
    return found


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


def test_the_fast_indexer_is_checked_at_a_full_site_in_steps_that_it_chose_in(
    layers: list[DeepseekV32Attention], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexcache_kernels.index_topk.cuda.runs", lambda device, heads, dim: True)
    monkeypatch.setattr(FastIndexer, "warm", lambda fast, indexer, device: None)
    used: list[bool] = []

    def use(fast: FastIndexer, wanted: bool) -> None:
        used.append(wanted)
        fast.chose = wanted

    monkeypatch.setattr(FastIndexer, "use", use)
    r = runner()
    engine = build(model(layers), r), r, layers
    assert engine[0].indexers == tuple(Indexer)
    draw = next(d for d in range(1000) if checked(StepPlan(Mode.ON, "FSSF", draw=d)) == 3)
    plan = StepPlan(Mode.ON, "FSSF", 1, ROWS, draw, indexer=Indexer.FAST)
    found = step(engine, plan)
    assert found is not None
    assert found.agreement == [1.0, 1.0]  # all scores are equal, so any tokens are as good
    assert len(found.overlap) == 1
    native = step(engine, replace(plan, indexer=Indexer.NATIVE))
    assert native is not None
    assert native.agreement == []
    assert used == [True, False]


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

    def use(pattern: str | None, *, eager: bool) -> None:
        used.append((pattern, eager))
        own(pattern, eager=eager)

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

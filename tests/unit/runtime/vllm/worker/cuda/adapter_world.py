"""The CUDA adapter, whole, on stand-ins for vLLM's layers and runner, and steps of it."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from indexcache_core.contract import Indexer, Mode
from indexcache_runtime.engine import Measured, Row, StepPlan
from indexcache_runtime.vllm.worker.cuda import graphs, seam
from indexcache_runtime.vllm.worker.cuda.adapter import CudaAdapter
from indexcache_runtime.vllm.worker.cuda.sampled_rows import drawn
from indexcache_runtime.vllm.worker.failure import Failure

from tests.unit.runtime.vllm.worker.cuda.standins import KEY, DeepseekV32Attention, context, order

TOKENS = 5
HELD = graphs.HeldGraphs(0, "", 0, 0)
ROWS = (Row("b", 3, 1), Row("a", 9, 0))
"""In a batch of a (one token), then b (four)."""


def model(layers: list[DeepseekV32Attention]) -> Any:
    return SimpleNamespace(
        named_modules=lambda: [(f"model.layers.{i}.self_attn", layer) for i, layer in enumerate(layers)]
    )


def runner() -> Any:
    names = [name for name in seam.RUNNER if name != "prepare_inputs"]
    batch = SimpleNamespace(req_ids=["a", "b"], query_start_loc_np=[0, 1, 5])
    return SimpleNamespace(cudagraph_manager=None, prepare_inputs=lambda *args: batch, **dict.fromkeys(names))


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
        replays=lambda pattern, indexer: True,
        use=lambda pattern, eager, indexer: used.append((pattern, eager, indexer)),
        more=lambda: None,
        replayed=None,
        held=HELD,
    )
    used: list[tuple[str | None, bool, Indexer]] = []
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
    followed = plan.pattern if plan.mode is Mode.ON else "F" * len(layers)
    assert used == [(followed, False, plan.indexer)]
    return found

"""Fixtures of the CUDA adapter."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from indexcache_runtime.vllm.worker.cuda import graphs, indexer_call, seam
from indexcache_runtime.vllm.worker.cuda.adapter import CudaAdapter
from indexcache_runtime.vllm.worker.cuda.build import build

from tests.unit.runtime.vllm.worker.cuda.adapter_world import model, runner
from tests.unit.runtime.vllm.worker.cuda.standins import DeepseekV32Attention, context, pretend


@pytest.fixture
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


@pytest.fixture
def engine(
    no_device: None, layers: list[DeepseekV32Attention]
) -> tuple[CudaAdapter, Any, list[DeepseekV32Attention]]:
    r = runner()
    return build(model(layers), r), r, layers

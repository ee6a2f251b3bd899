"""Makes the adapter of a model on CUDA, or says why the model, its runner or this vLLM doesn't fit."""

import re
from typing import Any

import torch

from indexcache_runtime.vllm.worker.architecture import Architecture, Unfit
from indexcache_runtime.vllm.worker.cuda import seam
from indexcache_runtime.vllm.worker.cuda.adapter import CudaAdapter


def build(model: Any, runner: Any) -> CudaAdapter:
    """Make the adapter of a loaded model and its runner. Raises Unfit."""
    if reasons := seam.misfits(seam.imported):
        raise Unfit("; ".join(reasons))
    if not hasattr(runner, "cudagraph_manager"):
        raise Unfit(
            f"runner: {type(runner).__name__} is vLLM's first model runner; only the second is supported, "
            "unset VLLM_USE_V2_MODEL_RUNNER"
        )
    major, minor = torch.cuda.get_device_capability()
    if major != 9:
        raise Unfit(f"device: compute capability {major}.{minor}; only 9.0 (H100, H200) is supported")
    layers = [
        (int(m[1]), layer)
        for name, layer in model.named_modules()
        if (m := re.search(r"layers\.(\d+)\.self_attn$", name))
    ]
    layers = [(number, layer) for number, layer in layers if getattr(layer, "indexer", None) is not None]
    if not layers:
        raise Unfit(f"model: {type(model).__name__} has no indexers; reuse needs DeepSeek Sparse Attention")
    if strange := sorted({type(layer).__name__ for _, layer in layers} - {"DeepseekV32Attention"}):
        raise Unfit(f"model: attention of class {', '.join(strange)}; only DeepseekV32Attention is supported")
    if strange := sorted({type(layer.impl).__name__ for _, layer in layers} - set(seam.BACKENDS)):
        known = " and ".join(seam.BACKENDS.values())
        raise Unfit(
            f"attention backend: {', '.join(strange)}; only {known} are supported, remove "
            "--attention-backend: vLLM takes one of them"
        )
    if missing := seam.missing(layers[0][1], runner):
        raise Unfit(f"vllm: {', '.join(missing)} is not there; use a vLLM release that this runtime knows")
    if len({layer.topk_indices_buffer.data_ptr() for _, layer in layers}) != 1:
        raise Unfit(
            "model: its layers don't share one buffer of chosen positions, as sites must for one to read "
            "another's choice"
        )
    try:
        return CudaAdapter(layers, runner)
    except ValueError as e:
        raise Unfit(f"indexers: {e}") from e


ARCHITECTURE = Architecture("deepseek_v32", "cuda", ("DeepseekV32ForCausalLM", "GlmMoeDsaForCausalLM"), build)

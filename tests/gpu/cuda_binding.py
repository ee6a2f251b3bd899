"""vLLM's CUDA classes for DeepSeek-V3.2, as the conformance suite sees them (tests.conformance.engine.Binding).

The model has the widths that the kernels ask for and few layers. Steps run without CUDA graphs, for what attention reads is recorded in
Python; graphs have tests of their own.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests.conformance.engine import Engine, Tolerance

WIDTHS: dict[str, Any] = {
    "vocab_size": 256,
    "hidden_size": 1024,
    "intermediate_size": 2048,
    "num_hidden_layers": 5,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "q_lora_rank": 512,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "index_topk": 512,
    "index_n_heads": 32,
    "index_head_dim": 128,
    "first_k_dense_replace": 5,
    "max_position_embeddings": 65536,
    "dtype": "bfloat16",
}


REPEATS, ROUNDING = Tolerance(0.001, 0.6), Tolerance(0.05, 0.6)
"""What vLLM's top-k of decode steps chooses differs between runs of vLLM alone; prefills repeat to the bit."""


def environment() -> None:
    """What vLLM reads when it is imported; no token of ours, so that the runtime stays out until it is told."""
    os.environ.pop("INDEXCACHE_TOKEN_FILE", None)
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "WARNING", "HF_HUB_OFFLINE": "1"}
    os.environ |= {"VLLM_DEEP_GEMM_WARMUP": "skip", "VLLM_USE_FLASHINFER_SAMPLER": "0"}


def in_order() -> None:
    """Have attention sum over chosen positions in their order: vLLM's top-k gives them in any, and rounding then differs from run to run.

    For all engines of a process, with the runtime and without; graphs captured after it have it too.
    """
    from vllm.v1.attention.backends.mla.flashmla_sparse import FlashMLASparseImpl

    own = FlashMLASparseImpl.forward_mqa
    if hasattr(own, "in_order"):
        return

    def forward(self: Any, q: Any, cache: Any, metadata: Any, layer: Any) -> Any:
        chosen = self.topk_indices_buffer[: (q[0] if isinstance(q, tuple) else q).shape[0]]
        chosen.copy_(chosen.sort(dim=-1, descending=True).values)
        return own(self, q, cache, metadata, layer)

    forward.in_order = True  # type: ignore[attr-defined]
    FlashMLASparseImpl.forward_mqa = forward


def ordered(worker: Any) -> None:
    """`in_order` in a rank's own process."""
    in_order()


def engine(folder: Path, *, seed: int = 0, **options: Any) -> Any:
    """A vllm.LLM of a random model written to `folder`, with hooks for the runtime, and sums in order."""
    from dsa_cpu import random_model
    from indexcache_runtime.vllm import plugin

    environment()
    if not folder.exists():
        random_model.write(folder, "DeepseekV32ForCausalLM", seed=seed, **WIDTHS)
    plugin.register()
    in_order()
    from vllm import LLM

    chosen: dict[str, Any] = {
        "max_model_len": 16384,
        "max_num_batched_tokens": 1024,
        "max_num_seqs": 64,
        "enable_prefix_caching": True,
        "kv_cache_memory_bytes": 4 << 30,
        "gpu_memory_utilization": 0.4,  # beside engines of other tests
        "attention_backend": "FLASHMLA_SPARSE",
        "logprobs_mode": "raw_logprobs",
        "skip_tokenizer_init": True,
        "seed": 0,
    }
    return LLM(str(folder), **chosen | options)


@dataclass(frozen=True)
class Cuda:
    """One rank in this process, or several, each in a process of its own with a GPU of its own; without CUDA graphs, or with."""

    ranks: int = 1
    graphs: bool = False
    tokens_a_step: int = 1024
    repeats: Tolerance = REPEATS
    rounding: Tolerance = ROUNDING
    strays: float = 0.01

    def start(self, folder: Path) -> Any:
        options: dict[str, Any] = {"max_num_seqs": 8, "enforce_eager": not self.graphs}
        if self.ranks == 1:
            return engine(folder, **options)
        os.environ |= {"VLLM_PLUGINS": "indexcache", "VLLM_WORKER_SHUTDOWN_TIMEOUT_SECONDS": "1"}
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"  # a fork of a process that has looked for a GPU can't use one
        options |= {"tensor_parallel_size": self.ranks, "distributed_executor_backend": "mp"}
        llm = engine(folder, **options)
        if not self.graphs:  # what is captured has it no more
            Engine(llm, self).on_workers(ordered)
        return llm

    def record(self, worker: Any) -> None:
        steps: list[dict[int, torch.Tensor]] = []
        worker.reads = steps
        for site, layer in enumerate(layers(worker)):
            impl = layer.self_attn.impl

            def forward(q: Any, cache: Any, m: Any, layer: Any, *, site: int = site, impl: Any = impl, own: Any = impl.forward_mqa) -> Any:
                if site == 0:
                    steps.append({})
                steps[-1][site] = impl.topk_indices_buffer[: m.num_actual_tokens].sort(dim=-1).values.cpu()
                return own(q, cache, m, layer)

            impl.forward_mqa = forward

    def recorded(self, worker: Any) -> list[dict[int, torch.Tensor]]:
        for layer in layers(worker):
            del layer.self_attn.impl.forward_mqa
        steps: list[dict[int, torch.Tensor]] = worker.reads
        del worker.reads
        return steps

    def skip_key_write(self, worker: Any, skip: bool) -> None:
        from indexcache_runtime.vllm.architectures.deepseek_v32.shared import Shared

        own = getattr(Shared.write_key, "own", Shared.write_key)

        def unwritten(shared: Any, positions: torch.Tensor, key: torch.Tensor) -> None:
            """Nothing."""

        unwritten.own = own  # type: ignore[attr-defined]
        Shared.write_key = unwritten if skip else own  # type: ignore[method-assign, assignment]


def layers(worker: Any) -> Any:
    """The model's layers, each of which is a site."""
    return worker.worker.model_runner.get_model().model.layers

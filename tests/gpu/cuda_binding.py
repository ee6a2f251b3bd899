"""vLLM's CUDA classes for DeepSeek-V3.2, as the conformance suite sees them
(tests.conformance.engine.Binding).

The model has the widths that the kernels ask for and few layers. Steps run without CUDA graphs, for what
attention reads is recorded in Python; graphs have tests of their own.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
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
"""What vLLM's top-k of decode steps chooses differs between runs of vLLM alone; prefills repeat to the
bit.
"""


def environment() -> None:
    """Set what vLLM reads when it is imported; no token of ours, so that the runtime stays out until it is
    told.
    """
    os.environ.pop("INDEXCACHE_TOKEN_FILE", None)
    os.environ |= {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "HF_HUB_OFFLINE": "1",
    }
    os.environ |= {"VLLM_DEEP_GEMM_WARMUP": "skip", "VLLM_USE_FLASHINFER_SAMPLER": "0"}


def in_order() -> None:
    """Have attention sum over chosen positions in their order: vLLM's top-k gives them in any, and rounding
    then differs from run to run.

    Choices are sorted before vLLM is told that they are there, since it may convert them on another stream
    from then on. For all engines of a process, with the runtime and without; graphs captured after it have it
    too.
    """
    from vllm.model_executor.layers.attention.sparse_mla_attention import SparseMLACommonImpl

    own = SparseMLACommonImpl.record_logical_topk_ready
    if hasattr(own, "in_order"):
        return

    def record(self: Any) -> None:
        if self.index_group_index == 0:
            chosen = self.topk_indices_buffer
            chosen.copy_(chosen.sort(dim=-1, descending=True).values)
        own(self)

    record.in_order = True  # type: ignore[attr-defined]
    SparseMLACommonImpl.record_logical_topk_ready = record


def ordered(worker: Any) -> None:
    """Put a rank's sums in order, in its own process."""
    in_order()


def engine(folder: Path, *, seed: int = 0, **options: Any) -> Any:
    """Return a vllm.LLM of a random model written to `folder`, with hooks for the runtime, and sums in
    order."""
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
        "logprobs_mode": "raw_logprobs",
        "skip_tokenizer_init": True,
        "seed": 0,
    }
    return LLM(str(folder), **chosen | options)


KERNELS = ("_bf16_flash_mla_kernel", "_forward_mqa_kernel")
"""Methods that hand places in the cache to a backend's kernel, as their third argument, and how many of each
row count as the fourth.
"""


def _watch(impl: Any, site: int, steps: list[dict[int, torch.Tensor]]) -> None:
    """Keep what this layer's kernel reads, as positions in the requests."""
    name = next(name for name in KERNELS if hasattr(impl, name))
    kernel, forward = getattr(impl, name), impl.forward_mqa
    step: list[tuple[Any, int]] = []

    def entered(q: Any, cache: Any, m: Any, layer: Any) -> Any:
        step[:] = [(m, cache.stride(0) // cache.shape[-1])]
        if site == 0:
            steps.append({})
        return forward(q, cache, m, layer)

    def read(q: Any, cache: Any, places: torch.Tensor, counts: torch.Tensor, *rest: Any, **more: Any) -> Any:
        ((m, apart),) = step
        rows = slice(min(len(places), m.num_actual_tokens))
        steps[-1][site] = positions(
            places[rows], counts[rows], m.req_id_per_token[rows], m.block_table, m.block_size, apart
        )
        return kernel(q, cache, places, counts, *rest, **more)

    impl.forward_mqa = entered
    setattr(impl, name, read)


def positions(
    places: torch.Tensor,
    counts: torch.Tensor,
    requests: torch.Tensor,
    table: torch.Tensor,
    block: int,
    apart: int,
) -> torch.Tensor:
    """Turn places in a cache into positions in the requests that they belong to.

    Args:
        places: (rows, k) int32, of which the first so many of each row count.
        counts: (rows,) int32.
        requests: (rows,) int32, each row's place in the table.
        table: (requests, blocks) int32, each request's blocks; past its end anything may stand.
        block: tokens of a block.
        apart: places from the beginning of a block to that of the next.

    Returns:
        (rows, k) int32 on the host, each row sorted: -1 where nothing counts, a number below it where a place
        is not the request's own.
    """
    at, of, blocks = places.cpu().numpy(), requests.cpu().numpy(), table.cpu().numpy()
    at = np.where(np.arange(at.shape[1]) < counts.cpu().numpy()[:, None], at, -1)
    found = np.full_like(at, -1)
    for request in np.unique(of):
        rows = of == request
        page, offset = np.divmod(at[rows], apart)
        own = blocks[request][::-1]
        nth = np.full(max(page.max(), own.max()) + 1, -1, dtype=np.int32)
        nth[own[own >= 0]] = np.arange(len(own), dtype=np.int32)[::-1][
            own >= 0
        ]  # of a block that stands there twice, the first
        known = np.where(offset < block, nth[page], -1)
        found[rows] = np.where(at[rows] < 0, -1, np.where(known < 0, -2 - at[rows], known * block + offset))
    return torch.from_numpy(np.sort(found, axis=1))


def _unwatch(impl: Any) -> None:
    del impl.forward_mqa
    for name in KERNELS:
        impl.__dict__.pop(name, None)


@dataclass(frozen=True)
class Cuda:
    """Binds the suite to GPUs: one rank in this process, or several, each in a process of its own with a GPU
    of its own; without CUDA graphs, or with.
    """

    ranks: int = 1
    graphs: bool = False
    backend: str | None = None
    tokens_a_step: int = 1024
    repeats: Tolerance = REPEATS
    rounding: Tolerance = ROUNDING
    strays: float = 0.01

    def start(self, folder: Path) -> Any:
        options: dict[str, Any] = {
            "max_num_seqs": 8,
            "enforce_eager": not self.graphs,
            "attention_backend": self.backend,
        }
        if self.ranks == 1:
            return engine(folder, **options)
        os.environ |= {"VLLM_PLUGINS": "indexcache", "VLLM_WORKER_SHUTDOWN_TIMEOUT_SECONDS": "1"}
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = (
            "spawn"  # a fork of a process that has looked for a GPU can't use one
        )
        options |= {"tensor_parallel_size": self.ranks, "distributed_executor_backend": "mp"}
        llm = engine(folder, **options)
        if not self.graphs:  # what is captured has it no more
            Engine(llm, self).on_workers(ordered)
        return llm

    def record(self, worker: Any) -> None:
        steps: list[dict[int, torch.Tensor]] = []
        worker.reads = steps
        for site, layer in enumerate(layers(worker)):
            _watch(layer.self_attn.impl, site, steps)

    def recorded(self, worker: Any) -> list[dict[int, torch.Tensor]]:
        for layer in layers(worker):
            _unwatch(layer.self_attn.impl)
        steps: list[dict[int, torch.Tensor]] = worker.reads
        del worker.reads
        return steps

    def skip_key_write(self, worker: Any, skip: bool) -> None:
        from indexcache_runtime.vllm.worker.cuda.shared_layer import SharedLayer

        own = getattr(SharedLayer.write_key, "own", SharedLayer.write_key)

        def unwritten(shared: Any, positions: torch.Tensor, key: torch.Tensor) -> None:
            """Write nothing."""

        unwritten.own = own  # type: ignore[attr-defined]
        SharedLayer.write_key = unwritten if skip else own  # type: ignore[method-assign, assignment]


def layers(worker: Any) -> Any:
    """Return the model's layers, each of which is a site."""
    return worker.worker.model_runner.get_model().model.layers

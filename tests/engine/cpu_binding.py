"""vLLM's generic classes on a CPU, as the conformance suite sees them (tests.conformance.engine.Binding)."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conformance.engine import Tolerance

TOKENS_A_STEP = 160
BLOCK_SIZES = (16, 128)
"""Those that vLLM's CPU platform picks, by the machine, where none is given."""
at_each_block_size = pytest.mark.parametrize(
    "cpu_engine",
    BLOCK_SIZES,
    ids="blocks of {}".format,
    indirect=True,
    scope="session",
)
"""For tests of what depends on the blocks of the KV cache."""

EXACT, ROUNDING = Tolerance(0.0, 0.0), Tolerance(1e-4, 1e-4)


@dataclass(frozen=True)
class Cpu:
    """Binds the suite to a CPU: one rank in this process, or several, each in a process of its own."""

    ranks: int = 1
    tokens_a_step: int = TOKENS_A_STEP
    block_size: int = 16
    """Tokens a block of the KV cache. Given, as all else that vLLM would derive from the machine."""
    repeats: Tolerance = EXACT
    rounding: Tolerance = ROUNDING
    strays: float = 0.0

    def start(self, folder: Path) -> Any:
        from dsa_cpu import random_model

        os.environ.pop("INDEXCACHE_TOKEN_FILE", None)
        os.environ |= {
            "VLLM_PLUGINS": "dsa_cpu,indexcache",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "OMP_NUM_THREADS": "1",
        }
        os.environ |= {"VLLM_LOGGING_LEVEL": "WARNING", "HF_HUB_OFFLINE": "1"}
        # Ranks are bound to NUMA nodes of their own otherwise, and most machines have one.
        os.environ |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_WORKER_SHUTDOWN_TIMEOUT_SECONDS": "1"}
        random_model.write(folder, "DeepseekV32ForCausalLM", seed=0)
        from vllm import LLM

        # torch was loaded before OMP_NUM_THREADS was set; two spinning threads are ten times slower on a busy
        # machine.
        torch.set_num_threads(1)
        return LLM(
            str(folder),
            dtype="float32",
            max_model_len=1088,
            max_num_batched_tokens=self.tokens_a_step,
            max_num_seqs=8,
            block_size=self.block_size,
            enable_prefix_caching=True,
            kv_cache_memory_bytes=64 << 20,
            tensor_parallel_size=self.ranks,
            distributed_executor_backend="uni" if self.ranks == 1 else "mp",
            logprobs_mode="raw_logprobs",
            skip_tokenizer_init=True,
            seed=0,
        )

    def record(self, worker: Any) -> None:
        steps: list[dict[int, torch.Tensor]] = []
        worker.reads = steps
        for site, layer in enumerate(layers(worker)):
            impl = layer.self_attn.mla_attn.mla_attn.impl

            def forward(
                q: Any,
                cache: Any,
                m: Any,
                layer: Any,
                *,
                site: int = site,
                impl: Any = impl,
                own: Any = impl.forward_mqa,
            ) -> Any:
                if site == 0:
                    steps.append({})
                steps[-1][site] = impl.indexer.topk_indices_buffer[: m.num_actual_tokens].sort(dim=-1).values
                return own(q, cache, m, layer)

            impl.forward_mqa = forward

    def recorded(self, worker: Any) -> list[dict[int, torch.Tensor]]:
        for layer in layers(worker):
            del layer.self_attn.mla_attn.mla_attn.impl.forward_mqa
        steps: list[dict[int, torch.Tensor]] = worker.reads
        del worker.reads
        return steps

    def skip_key_write(self, worker: Any, skip: bool) -> None:
        for layer in layers(worker):
            op = layer.self_attn.indexer.indexer_op
            own = op.forward_cpu

            def forward(*args: Any, op: Any = op, own: Any = own) -> Any:
                return op.topk_indices_buffer if "select" in vars(op) else own(*args)

            op._forward_method = forward if skip else own


def layers(worker: Any) -> Any:
    """Return the model's layers, each of which is a site."""
    return worker.worker.model_runner.get_model().model.layers

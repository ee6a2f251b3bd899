"""Runs one arm of benchmarks/cuda_runtime.py: a vLLM engine in a process of its own, which does what it is
told, one thing at a time.

Arms share one GPU and run in turns. `unpatched` and `static` are vLLM without our runtime, all Full and under
its own static pattern; `ours` is all Full with the runtime, controlled over its real HTTP port.
"""

import gc
import http.client
import json
import multiprocessing
import os
import random
import tempfile
import threading
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.cuda_watch import Provenance, Step, watch

SHAPE: dict[str, Any] = {
    "architectures": ["DeepseekV32ForCausalLM"], "model_type": "deepseek_v32", "hidden_size": 2048, "intermediate_size": 10240,
    "moe_intermediate_size": 1536, "num_attention_heads": 16, "num_key_value_heads": 16, "n_routed_experts": 64, "n_shared_experts": 1,
    "num_experts_per_tok": 4, "first_k_dense_replace": 1, "moe_layer_freq": 1, "q_lora_rank": 768, "kv_lora_rank": 512,
    "qk_nope_head_dim": 192, "qk_rope_head_dim": 64, "v_head_dim": 256, "vocab_size": 32768, "routed_scaling_factor": 1.8,
    "norm_topk_prob": True, "scoring_func": "sigmoid", "topk_method": "noaux_tc", "n_group": 1, "topk_group": 1,
    "max_position_embeddings": 262144, "rope_theta": 1000000.0, "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
    "rms_norm_eps": 1e-5, "hidden_act": "silu", "dtype": "bfloat16", "tie_word_embeddings": False, "index_topk": 2048,
    "index_n_heads": 32, "index_head_dim": 128, "attention_bias": False, "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
"""GLM-4.7-Flash's shape with DeepSeek-V3.2's indexers, 30 billion parameters in 47 layers."""

TOKEN = "benchmark"


class Arm:
    """A handle on the process. Calls return what the method of Engine of that name returns."""

    def __init__(self, name: str, **options: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._here, there = context.Pipe()
        self._process = context.Process(target=serve, args=(there, name, options), daemon=True)
        self._process.start()
        there.close()

    def __getattr__(self, method: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._here.send((method, args, kwargs))
            failed, answer = self._here.recv()
            if failed:
                raise RuntimeError(f"{self.name}.{method}: {answer}")
            return answer

        return call

    def close(self) -> None:
        """End the process."""
        self._here.close()
        self._process.join(30)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def serve(connection: Connection, name: str, options: dict[str, Any]) -> None:
    """Run the process of an arm: take calls from the connection and answer them until it ends."""
    engine = Engine(name, **options)
    while True:
        try:
            method, args, kwargs = connection.recv()
        except EOFError:
            os._exit(0)
        try:
            connection.send((False, getattr(engine, method)(*args, **kwargs)))
        except Exception as e:  # noqa: BLE001  # whatever it was, the caller raises it
            connection.send((True, f"{type(e).__name__}: {e}"))


def prompt(length: int, number: int) -> list[int]:
    """Return random tokens: the same for every arm, so that none has easier ones."""
    return random.Random(f"{length} {number}").choices(range(2, 32000), k=length)


class Engine:
    """A vLLM engine, in this process."""

    def __init__(
        self,
        name: str,
        *,
        layers: int,
        pattern: str | None,
        tokens: int,
        kv_bytes: int,
        batched: int = 16384,
        backend: str | None = None,
    ) -> None:
        """Start vLLM on the model, with the runtime if there is a pattern.

        backend: vLLM's --attention-backend; None: what it takes by itself."""
        self.ours = name == "ours"
        os.environ |= {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_LOGGING_LEVEL": "ERROR",
            "HF_HUB_OFFLINE": "1",
        }
        os.environ |= {
            "VLLM_DEEP_GEMM_WARMUP": "skip",
            "VLLM_USE_FLASHINFER_SAMPLER": "0",
            "VLLM_PLUGINS": "",
        }
        os.environ.pop("INDEXCACHE_TOKEN_FILE", None)
        folder = Path(tempfile.mkdtemp())
        (folder / "config.json").write_text(json.dumps(SHAPE | {"num_hidden_layers": layers}))
        if self.ours:
            from indexcache_runtime.vllm import plugin

            plugin.register()
        from vllm import LLM

        self.llm = LLM(
            str(folder),
            skip_tokenizer_init=True,
            load_format="dummy",
            hf_overrides={"index_topk_pattern": pattern} if name == "static" else {},
            max_model_len=tokens + 2048,
            max_num_batched_tokens=batched,
            max_num_seqs=64,
            kv_cache_memory_bytes=kv_bytes,
            gpu_memory_utilization=0.2,
            enable_prefix_caching=True,
            disable_log_stats=False,
            compilation_config={"cudagraph_capture_sizes": [1, 2, 4, 8, 16, 32, 64]},
            moe_backend="triton",
            attention_backend=backend,
            seed=0,
        )
        self.core = self.llm.llm_engine.engine_core.engine_core
        self.random = random.Random(name)
        self.prefilled: list[list[int]] = []
        self._measured: Counter[str] = Counter()
        if self.ours:
            from indexcache_runtime.access import Credentials
            from indexcache_runtime.control.server import serve as control
            from indexcache_runtime.vllm.engine_core import takeover

            credentials = Credentials(TOKEN)
            self.control = takeover.adopt(self.core, credentials, seed=1)
            assert self.control.state().supported, self.control.state().reasons
            _, self.port = control(self.control, credentials, 0)
            self._count_measured()

    def ready(self) -> dict[str, str]:
        """Wait until the engine stands; return the versions of what it runs."""
        import torch
        import triton
        import vllm

        model = self.core.model_executor.driver_worker.worker.model_runner.get_model()
        return {
            "vllm": vllm.__version__,
            "torch": torch.__version__,
            "triton": triton.__version__,
            "gpu": torch.cuda.get_device_name(),
            "cuda": str(torch.version.cuda),
            "backend": model.model.layers[0].self_attn.attn_backend.get_name(),
        }

    def clear(self) -> None:
        """Empty the cache, and have it filled from its beginning again, so that contexts lie in every arm as
        in fresh engines.
        """
        assert self.llm.reset_prefix_cache()
        self.prefilled.clear()
        pool = self.core.scheduler.kv_cache_manager.block_pool
        free = pool.get_num_free_blocks()
        pool.free_blocks(sorted(pool.get_new_blocks(free), key=lambda block: block.block_id))
        assert pool.get_num_free_blocks() == free

    def prefill(self, length: int, number: int = 0) -> float:
        """Return the seconds to the first token of the prompt of so many tokens and this number; each arm has
        the same. It stays in the cache.
        """
        self.prefilled.append(prompt(length, number))
        (output,) = self._generate([self.prefilled[-1]], 1)
        seconds: float = output.metrics.first_token_latency
        return seconds

    def decode(self, tokens: int, length: int) -> float:
        """Return the seconds for each further token of the first prompt of so many tokens, which is in the
        cache."""
        (output,) = self._generate([prompt(length, 0)], tokens)
        m = output.metrics
        return float(m.last_token_ts - m.first_token_ts) / (tokens - 1)

    def decode_all(self, tokens: int) -> float:
        """Return how many tokens a second are decoded of all prompts together that were prefilled since
        `clear`."""
        decoded = [o.metrics for o in self._generate(self.prefilled, tokens)]
        return float(sum((tokens - 1) / (m.last_token_ts - m.first_token_ts) for m in decoded))

    def answers(self, prompts: list[list[int]], tokens: int) -> list[list[int]]:
        """Return greedy answers to the prompts, all asked at once."""
        return [list(o.outputs[0].token_ids) for o in self._generate(prompts, tokens)]

    def put(self, mode: str, pattern: str, rows: int | None = None, indexer: str = "Native") -> None:
        """Set flags over the control port."""
        state = self._call("GET", "/v1/state")
        flags: dict[str, Any] = {"mode": mode, "pattern": pattern, "indexer": indexer}
        flags |= {} if rows is None else {"sample_rows": rows}
        body = {
            "incarnation": state["incarnation"],
            "epoch": state["epoch"] + 1,
            "flags": flags,
            "permit_seconds": 3600,
        }
        self._call("PUT", "/v1/flags", body)

    def measured_steps(self, kind: str) -> int:
        """Return how many steps of prefill, or of decode, were measured so far."""
        return self._measured[kind]

    def _count_measured(self) -> None:
        count = self.control.measured

        def measured(plan: Any, found: Any) -> None:
            if found.overlap:
                self._measured["decode" if plan.replayed else "prefill"] += 1
            count(plan, found)

        self.control.measured = measured  # type: ignore[method-assign, assignment]

    def state(self) -> dict[str, Any]:
        """Return what GET /v1/state answers."""
        state: dict[str, Any] = self._call("GET", "/v1/state")
        return state

    def kills(self, pattern: str, times: int, requests: int, length: int) -> list[float]:
        """Return the seconds from the POST of a kill until the first all-Full step begins on the device,
        while so many requests decode.
        """
        self.put("on", pattern, 0)
        steps = watch(self.core)
        self._start(requests, length, 8 * times + 400)
        took: list[float] = []
        for _ in range(times):
            self.put("on", pattern, 0)
            self._steps(4)
            assert steps[-1].reuse
            took.append(self._kill(steps))
        self._abort()
        return took

    def kill_in_prefill(self, pattern: str, length: int) -> tuple[float, float]:
        """Return the same in the middle of a long prefill: seconds, and how long a step of it takes."""
        self.put("on", pattern, 0)
        steps = watch(self.core)
        self._start(1, length, 2, steps=3)
        before = time.monotonic()
        self._steps(1)
        step = time.monotonic() - before
        took = self._kill(steps)
        self._abort()
        return took, step

    def _kill(self, steps: list[Step]) -> float:
        """Run until a step without reuse was handed over and the one before it is over: then it begins."""
        first = len(steps)
        poster = _Poster(self)
        poster.start()
        while (
            full := next((i for i in range(first, len(steps)) if not steps[i].reuse), None)
        ) is None or not steps[full - 1].ended:
            self.llm.llm_engine.step()
        poster.join()
        return max(steps[full].handed_over, steps[full - 1].ended) - poster.posted

    def new_pattern(self, pattern: str, requests: int, length: int) -> tuple[float, float, float]:
        """Return the seconds from the PUT of a pattern never seen to its full graphs, the longest step
        meanwhile, and a usual step's, under load.
        """
        self.put("off", pattern)
        self._start(requests, length, 600)
        self._steps(requests + 20)
        usual = self._steps(50) / 50
        self.put("on", pattern, 0)
        began, longest = time.monotonic(), 0.0
        while True:
            longest = max(longest, self._steps(1))
            device = self.control.state().device
            if device.graphs_of == pattern and device.graphs == device.graphs_wanted > 0:
                break
        took = time.monotonic() - began
        self._abort()
        return took, longest, usual

    def tainted(self, pattern: str, prompts: list[list[int]], tokens: int) -> dict[str, Any]:
        """Send reuse traffic over the prompts' prefixes, a kill, then the prompts; return how many cached
        blocks computed under reuse they were served, by a record of our own of which step computed which
        block, and their answers. Baseline blocks are in the cache from before.
        """
        self.put("off", pattern)
        warm = [p[: len(p) // 2] for p in prompts[::2]]
        self._generate(warm, 1)
        record = Provenance(self.core, lambda: self.control.behaviour().mode.value == "on")
        self.put("on", pattern, 0)
        self._generate([[*p, 7, 8, 9] for p in prompts], 4)
        self._call("POST", "/v1/kill", {"reason": "benchmark"})
        record.count = True
        answers = self.answers(prompts, tokens)
        return {
            "answers": answers,
            "tainted": record.tainted,
            "clean": record.clean,
            "clean_from_before_the_kill": record.older,
            "asked": record.asked,
            "made_under_reuse": len(record.reuse),
        }

    def _prompt(self, length: int) -> list[int]:
        return [self.random.randrange(2, 32000) for _ in range(length)]

    def _generate(self, prompts: list[list[int]], tokens: int) -> Any:
        from vllm import SamplingParams

        gc.collect()  # what one setting leaves behind must not be cleared away at another's cost

        params = SamplingParams(max_tokens=tokens, ignore_eos=True, temperature=0, detokenize=False)
        return self.llm.generate([{"prompt_token_ids": p} for p in prompts], params, use_tqdm=False)

    def _start(self, requests: int, length: int, tokens: int, *, steps: int = 0) -> None:
        """Add requests, and let so many steps run; 0: until all decode."""
        from vllm import SamplingParams

        params = SamplingParams(max_tokens=tokens, ignore_eos=True, temperature=0, detokenize=False)
        for i in range(requests):
            self.llm.llm_engine.add_request(
                f"r{time.monotonic_ns()}-{i}", {"prompt_token_ids": self._prompt(length)}, params
            )
        self._steps(steps or requests * length // 16384 + 3)

    def _steps(self, n: int) -> float:
        began = time.monotonic()
        for _ in range(n):
            self.llm.llm_engine.step()
        return time.monotonic() - began

    def _abort(self) -> None:
        self.llm.llm_engine.abort_request(
            list(self.llm.llm_engine.output_processor.request_states), internal=True
        )
        while self.llm.llm_engine.has_unfinished_requests():
            self.llm.llm_engine.step()

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {answer}")
        return answer


class _Poster(threading.Thread):
    """Posts a kill, and knows when it began to."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine, self.posted = engine, 0.0

    def run(self) -> None:
        self.posted = time.monotonic()
        self._engine._call("POST", "/v1/kill", {"reason": "benchmark"})

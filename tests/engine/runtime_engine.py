"""A vLLM engine in this process with the runtime in it, driven step by step: what the engine tests of the runtime share."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexcache_core.contract import Desired, Flags, Kill, Mode, State

TOKEN = "control-token"
TOKENS_A_STEP = 160

Prompt = Sequence[int]


@dataclass(frozen=True)
class Answer:
    """What came out of one request."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of the generated tokens."""
    cached: int
    """Prompt tokens served from the prefix cache."""


@dataclass
class Engine:
    """The engine. Before `adopt` it is as vLLM made it."""

    llm: Any
    control: Any = None
    _epoch: int = 0
    _names: int = 0
    _done: dict[str, Answer] = field(default_factory=dict)

    @property
    def core(self) -> Any:
        """vLLM's EngineCore."""
        return self.llm.llm_engine.engine_core.engine_core

    @property
    def model(self) -> Any:
        """The loaded model."""
        return self.core.model_executor.driver_worker.worker.model_runner.get_model()

    def adopt(self) -> None:
        """Let the runtime take charge."""
        from indexcache_runtime.vllm import plugin

        self.control = plugin.adopt(self.core, TOKEN, seed=1)

    @property
    def state(self) -> State:
        """What GET answers."""
        state: State = self.control.state()
        return state

    def put(self, mode: Mode, pattern: str, *, permit: float = 600.0, **flags: Any) -> State:
        """Set flags under the next epoch."""
        self._epoch = self.state.epoch + 1
        wanted = Flags.model_validate({"mode": mode, "pattern": pattern, **flags})
        desired = Desired(incarnation=self.control.incarnation, epoch=self._epoch, permit_seconds=permit, flags=wanted)
        state: State = self.control.put(desired)
        return state

    def kill(self) -> None:
        """To the baseline."""
        self.control.kill(Kill(reason="test"))

    def forget(self) -> None:
        """Empty the prefix cache."""
        assert self.llm.reset_prefix_cache()

    def start(self, prompt: Prompt, max_tokens: int, name: str = "") -> str:
        """Add a request; `step` runs it. Returns its name."""
        from vllm import SamplingParams

        self._names += 1
        name = name or f"request{self._names}"
        params = SamplingParams(max_tokens=max_tokens, temperature=0, ignore_eos=True, logprobs=0, detokenize=False)
        self.llm.llm_engine.add_request(name, {"prompt_token_ids": list(prompt)}, params)
        return name

    def step(self) -> None:
        """One step of the engine."""
        for o in self.llm.llm_engine.step():
            if o.finished:
                out = o.outputs[0]
                logprobs = tuple(row[token].logprob for row, token in zip(out.logprobs, out.token_ids, strict=True))
                self._done[o.request_id] = Answer(tuple(out.token_ids), logprobs, o.num_cached_tokens)

    def finish(self, names: Sequence[str]) -> list[Answer]:
        """Step until these are done."""
        while not all(name in self._done for name in names):
            self.step()
        return [self._done.pop(name) for name in names]

    def ask(self, prompts: Sequence[Prompt], max_tokens: int) -> list[Answer]:
        """All at once, to the end."""
        return self.finish([self.start(p, max_tokens) for p in prompts])

    def ask_each(self, prompts: Sequence[Prompt], max_tokens: int) -> list[Answer]:
        """One after another, to the end."""
        return [self.ask([p], max_tokens)[0] for p in prompts]

    @contextmanager
    def reads(self) -> Iterator[list[dict[int, list[list[int]]]]]:
        """What attention reads meanwhile: for each step, for each layer, the sets of its rows, sorted and without padding."""
        steps: list[dict[int, list[list[int]]]] = []
        patched: list[Any] = []
        for i, layer in enumerate(self.model.model.layers):
            impl = layer.self_attn.mla_attn.mla_attn.impl

            def forward(q: Any, cache: Any, m: Any, layer: Any, *, i: int = i, original: Any = impl.forward_mqa, impl: Any = impl) -> Any:
                if i == 0:
                    steps.append({})
                rows = impl.indexer.topk_indices_buffer[: m.num_actual_tokens].tolist()
                steps[-1][i] = [sorted(x for x in row if x >= 0) for row in rows]
                return original(q, cache, m, layer)

            impl.forward_mqa = forward
            patched.append(impl)
        try:
            yield steps
        finally:
            for impl in patched:
                del impl.forward_mqa


def start(folder: Path) -> Engine:
    """An engine on a small random model, all Full, untouched by the runtime: there is no token when it is constructed."""
    from dsa_cpu import random_model

    os.environ.pop("INDEXCACHE_TOKEN_FILE", None)
    os.environ |= {"VLLM_PLUGINS": "dsa_cpu,indexcache", "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": "1"}
    os.environ |= {"VLLM_LOGGING_LEVEL": "WARNING", "HF_HUB_OFFLINE": "1"}
    random_model.write(folder, "DeepseekV32ForCausalLM", seed=0)
    import torch
    from vllm import LLM

    torch.set_num_threads(1)  # torch was loaded before OMP_NUM_THREADS was set; two spinning threads are ten times slower on a busy machine

    return Engine(
        LLM(
            str(folder),
            dtype="float32",
            max_model_len=1088,
            max_num_batched_tokens=TOKENS_A_STEP,
            max_num_seqs=8,
            enable_prefix_caching=True,
            kv_cache_memory_bytes=64 << 20,
            distributed_executor_backend="uni",
            logprobs_mode="raw_logprobs",
            skip_tokenizer_init=True,
            seed=0,
        )
    )

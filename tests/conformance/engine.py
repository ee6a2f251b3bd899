"""The engine under test: a real vLLM in this process with the runtime in it, driven step by step, on any
platform.

What depends on the platform is a `Binding`: which model, which arguments, and three things done inside the
workers, so that they work on every rank: keep what attention reads, hand it over, and break the write of
keys. Nothing here knows a device.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from indexcache_core.contract import Desired, Flags, Kill, Mode, State

TOKEN = "control-token"
ALL = 4096
"""Rows sampled a step: more than a step has."""

Prompt = Sequence[int]
Reads = list[dict[int, torch.Tensor]]
"""What attention read: for each step, for each site, (rows, k) int32, each row sorted, -1 first. Rows in the
order of the batch, without padding. A step in which attention read no sets, as in a dense prefill, has no
sites.
"""
T = TypeVar("T")


class Tolerance(NamedTuple):
    """Says by how much a log-probability may differ."""

    first: float
    """Of the first token, which the prefill makes."""
    later: float


class Binding(Protocol):
    """A platform. The last three run in a worker, are pickled by value, and get vLLM's WorkerWrapperBase."""

    @property
    def tokens_a_step(self) -> int:
        """Return max_num_batched_tokens: more than k; a prompt of five times as many and 64 tokens more must
        fit into the model's length.
        """
        ...

    @property
    def repeats(self) -> Tolerance:
        """Return the tolerance where the same step is done again: zeros on a platform whose kernels are
        deterministic."""
        ...

    @property
    def rounding(self) -> Tolerance:
        """Return the tolerance where the same is computed in other steps."""
        ...

    @property
    def strays(self) -> float:
        """Return the share of a set's members that may differ when the same step is done again."""
        ...

    def start(self, folder: Path) -> Any:
        """Start a vllm.LLM, its engine core in this process, of a model with four indexers or more written to
        `folder`, on which a choice of positions shows. Chunked prefill and prefix cache on, eight requests at
        once, raw log-probabilities, and no token of ours in the environment, so that the runtime stays out
        until `Engine.adopt`.
        """
        ...

    def record(self, worker: Any) -> None:
        """Keep from now on what each site's attention reads."""
        ...

    def recorded(self, worker: Any) -> Reads:
        """Keep no more; what was kept."""
        ...

    def skip_key_write(self, worker: Any, skip: bool) -> None:
        """Break the build: while it skips, no site that isn't Full writes its keys."""
        ...


@dataclass(frozen=True)
class Answer:
    """Holds what came out of one request."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of the generated tokens."""
    cached: int = field(compare=False)
    """Prompt tokens served from the prefix cache."""


@dataclass
class Engine:
    """The engine. Before `adopt` it is as vLLM made it."""

    llm: Any
    binding: Binding
    control: Any = None
    untouched: list[Answer] = field(default_factory=list)
    """What it answered to `prompts` before `adopt`."""
    _names: int = 0
    _done: dict[str, Answer] = field(default_factory=dict)

    @property
    def core(self) -> Any:
        """Return vLLM's EngineCore."""
        return self.llm.llm_engine.engine_core.engine_core

    @property
    def model(self) -> Any:
        """Return the loaded model, where the one worker is in this process too."""
        return self.core.model_executor.driver_worker.worker.model_runner.get_model()

    def adopt(self) -> None:
        """Let the runtime take charge."""
        from indexcache_runtime.access import Credentials
        from indexcache_runtime.vllm.engine_core import takeover

        self.control = takeover.adopt(self.core, Credentials(TOKEN), seed=1)

    @property
    def state(self) -> State:
        """Return what GET /v1/state answers."""
        state: State = self.control.state()
        return state

    @property
    def k(self) -> int:
        """Return how many tokens a row chooses."""
        k: int = self.core.vllm_config.model_config.hf_text_config.index_topk
        return k

    @property
    def block_size(self) -> int:
        """Return how many tokens a block of the KV cache has, by the engine's own word."""
        size: int = self.core.vllm_config.cache_config.block_size
        return size

    def cacheable(self, prompt: Prompt) -> int:
        """Return how many tokens of a prompt the cache can serve: whole blocks, and never the last token."""
        return (len(prompt) - 1) // self.block_size * self.block_size

    @property
    def prompts(self) -> list[list[int]]:
        """Return prompts with contexts over k in several steps and in one, across k, and under it. The first
        fills the first steps by itself.
        """
        k, step = self.k, self.binding.tokens_a_step
        return prompts(1, 5 * step - 23, 3 * step + 20, 2 * step - 20, step - 10, k - 4, k // 2 + 8)

    def put(self, mode: Mode, pattern: str, *, permit: float = 600.0, **flags: Any) -> State:
        """Set flags under the next epoch."""
        wanted = Flags.model_validate({"mode": mode, "pattern": pattern, **flags})
        desired = Desired(
            incarnation=self.control.incarnation,
            epoch=self.state.epoch + 1,
            permit_seconds=permit,
            flags=wanted,
        )
        state: State = self.control.put(desired)
        return state

    def kill(self) -> None:
        """Send the engine to the baseline."""
        self.control.kill(Kill(reason="test"))

    def forget(self) -> None:
        """Empty the prefix cache."""
        assert self.llm.reset_prefix_cache()

    def reset(self) -> None:
        """Leave the engine at the baseline, nothing cached, nothing measured."""
        self.kill()
        self.forget()
        self.put(
            Mode.SHADOW, "F" * len(self.control.sites)
        )  # another series: the next flags' own starts from zero
        self.kill()
        self.step()  # vLLM tells of finished requests with the next step

    def start(self, prompt: Prompt, max_tokens: int, name: str = "") -> str:
        """Add a request; `step` runs it. Returns its name."""
        from vllm import SamplingParams

        self._names += 1
        name = name or f"request{self._names}"
        params = SamplingParams(
            max_tokens=max_tokens, temperature=0, ignore_eos=True, logprobs=0, detokenize=False
        )
        self.llm.llm_engine.add_request(name, {"prompt_token_ids": list(prompt)}, params)
        return name

    def step(self) -> None:
        """Run one step of the engine."""
        for o in self.llm.llm_engine.step():
            if o.finished:
                out = o.outputs[0]
                logprobs = tuple(
                    row[token].logprob for row, token in zip(out.logprobs, out.token_ids, strict=True)
                )
                self._done[o.request_id] = Answer(tuple(out.token_ids), logprobs, o.num_cached_tokens)

    def finish(self, names: Sequence[str]) -> list[Answer]:
        """Step until these are done."""
        while not all(name in self._done for name in names):
            self.step()
        return [self._done.pop(name) for name in names]

    def ask(self, prompts: Sequence[Prompt], max_tokens: int) -> list[Answer]:
        """Ask all prompts at once, to the end."""
        return self.finish([self.start(p, max_tokens) for p in prompts])

    def ask_each(self, prompts: Sequence[Prompt], max_tokens: int) -> list[Answer]:
        """Ask one prompt after another, to the end."""
        return [self.ask([p], max_tokens)[0] for p in prompts]

    def scheduled(self, name: str) -> Any:
        """Return the scheduler's own request."""
        return next(
            r for key, r in self.core.scheduler.requests.items() if key == name or key.startswith(name + "-")
        )

    def on_workers(self, do: Callable[..., T], *args: Any) -> list[T]:
        """Return what a function gives on every rank's worker, which is its first argument."""
        import cloudpickle  # type: ignore[import-untyped]

        for module in {type(getattr(do, "__self__", do)).__module__, do.__module__} - {"builtins"}:
            cloudpickle.register_pickle_by_value(
                sys.modules[module]
            )  # a worker has not our tests on its path
        answers: list[T] = self.core.collective_rpc(do, args=args)
        return answers

    @contextmanager
    def reads(self) -> Iterator[Reads]:
        """Record what attention reads for the time of a block; it is there once the block is left. Each rank
        must have read the same, as far as a step repeats.
        """
        steps: Reads = []
        self.on_workers(self.binding.record)
        try:
            yield steps
        finally:
            ranks = self.on_workers(self.binding.recorded)
            steps += ranks[0]
        for other in ranks[1:]:
            assert len(other) == len(steps)
            for a, b in zip(other, steps, strict=True):
                assert a.keys() == b.keys()
                for site in a:
                    assert same_sets(a[site], b[site], self.binding.strays), (
                        f"other sets at site {site} on another rank"
                    )

    @contextmanager
    def skipped_key_writes(self) -> Iterator[None]:
        """Break the build for the time of a block: only Full sites write their keys."""
        self.on_workers(self.binding.skip_key_write, True)
        try:
            yield
        finally:
            self.on_workers(self.binding.skip_key_write, False)

    @contextmanager
    def measurements(self) -> Iterator[list[tuple[Any, Any]]]:
        """Record the plans and measurements that the engine core counts for the time of a block."""
        steps: list[tuple[Any, Any]] = []
        count = self.control.measured

        def counted(plan: Any, measured: Any) -> None:
            steps.append((plan, measured))
            count(plan, measured)

        self.control.measured = counted
        try:
            yield steps
        finally:
            del self.control.measured

    @contextmanager
    def scarce(self, blocks: int) -> Iterator[None]:
        """Take all free blocks of the KV cache but so many for the time of a block."""
        pool = self.core.scheduler.kv_cache_manager.block_pool
        taken = pool.get_new_blocks(pool.get_num_free_blocks() - blocks)
        try:
            yield
        finally:
            pool.free_blocks(taken)


def same_sets(a: torch.Tensor, b: torch.Tensor, strays: float) -> bool:
    """Return whether two tensors (rows, k) of sorted sets are the same but for a share of their members."""
    if torch.equal(a, b):
        return True
    if a.shape != b.shape or not strays:
        return False
    missing = sum(len(set(x) - set(y)) for x, y in zip(a.tolist(), b.tolist(), strict=True))
    return missing <= strays * a.numel()


def prompts(seed: int, *lengths: int) -> list[list[int]]:
    """Return random prompts."""
    g = torch.Generator().manual_seed(seed)
    return [torch.randint(3, 256, (n,), generator=g).tolist() for n in lengths]


def launch(binding: Binding, folder: Path) -> Engine:
    """Start an engine that has answered untouched, and then been taken charge of: so "unpatched" and "off"
    differ in nothing else.
    """
    engine = Engine(binding.start(folder), binding)
    assert "schedule" not in vars(engine.core.scheduler)
    engine.untouched = engine.ask(engine.prompts, 16)
    engine.adopt()
    assert engine.state.supported, engine.state.reasons
    return engine

"""Measures what the runtime costs while it is off: the same engine with and without it, request by request in
turn.

    OMP_NUM_THREADS=1 python -m benchmarks.off_cost [--samples 150]

One engine in one process, so that nothing differs but the runtime: before each request its hooks are put in
or taken out, and the control port's poller (another process, twice a second, as in a server) runs or pauses.
Each sample is one prompt asked four times: with, without, without and with the runtime or the reverse; the
prefix cache is off. The figure is the median of the samples' ratios, time with over time without, with a
bootstrap interval of 95 %: of wall time, and of the process's CPU time, which other work on the machine
disturbs less.

Writes benchmarks/results/off_cost.json.
"""

import argparse
import multiprocessing
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.report import Report, interval

RESULT = Path(__file__).with_name("results") / "off_cost.json"
CLOCKS = {"wall time": time.perf_counter, "CPU time": time.process_time}
SHAPES = {
    "prefill 512 + 1 tokens": (512, 1, 1),
    "decode 96 + 20 tokens": (96, 20, 1),
    "4 at once, 96 + 12 tokens each": (96, 12, 4),
}


class Toggle:
    """Keeps what `install` set on some objects, to be taken out and put in again."""

    def __init__(self, objects: list[Any], install: Callable[[], None]) -> None:
        before = [dict(vars(o)) for o in objects]
        install()
        self._changes = [
            (o, key, value, key in old, old.get(key))
            for o, old in zip(objects, before, strict=True)
            for key, value in vars(o).items()
            if key not in old or old[key] is not value
        ]
        if not self._changes:
            raise RuntimeError("the runtime put no hooks in; is the engine supported?")

    def put_in(self) -> None:
        """Put the runtime into the engine."""
        for o, key, value, _, _ in self._changes:
            setattr(o, key, value)

    def take_out(self) -> None:
        """Leave the engine as vLLM made it."""
        for o, key, _, existed, old in self._changes:
            if existed:
                setattr(o, key, old)
            else:
                delattr(o, key)


class Polling:
    """Reads the state over the control port twice a second, while it may, from another process."""

    def __init__(self, port: int, token: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._may = context.Event()
        context.Process(target=poll, args=(port, token, self._may), daemon=True).start()

    @contextmanager
    def on(self) -> Iterator[None]:
        """Read the state for the time of a block."""
        self._may.set()
        try:
            yield
        finally:
            self._may.clear()


def poll(port: int, token: str, may: Any) -> None:
    """Read the state again and again: what the other process runs."""
    from indexcache_runtime.access import Credentials
    from indexcache_runtime.vllm.api_server.metrics import POLL_SECONDS, Poller, StateCollector

    poller = Poller(StateCollector(), port, Credentials(token))
    # By the clock, whether or not it may: a poller that made up for its pauses would read too often while it
    # may.
    tick = time.monotonic()
    while True:
        tick += POLL_SECONDS
        time.sleep(max(tick - time.monotonic(), 0.0))
        if may.is_set():
            poller.read()


def engine(folder: Path) -> Any:
    """Return a vLLM engine on a small DSA model, in this process."""
    os.environ |= {
        "VLLM_PLUGINS": "dsa_cpu,indexcache",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    os.environ.pop("INDEXCACHE_TOKEN_FILE", None)
    from dsa_cpu import random_model
    from vllm import LLM

    random_model.write(folder, "DeepseekV32ForCausalLM", seed=0)
    return LLM(
        str(folder),
        dtype="float32",
        max_model_len=1088,
        max_num_batched_tokens=1088,
        block_size=16,
        enable_prefix_caching=False,
        kv_cache_memory_bytes=64 << 20,
        distributed_executor_backend="uni",
        skip_tokenizer_init=True,
        seed=0,
    )


def measure(
    llm: Any, toggle: Toggle, polling: Polling, shape: tuple[int, int, int], samples: int, rng: random.Random
) -> dict[str, list[float]]:
    """Return ratios of the time with the runtime (off) to the time without it, by clock."""
    from vllm import SamplingParams

    prompt_tokens, tokens, at_once = shape
    params = SamplingParams(max_tokens=tokens, temperature=0, ignore_eos=True, detokenize=False)

    def timed(prompts: list[Any]) -> dict[str, float]:
        begun = {name: clock() for name, clock in CLOCKS.items()}
        llm.generate(prompts, params, use_tqdm=False)
        return {name: clock() - begun[name] for name, clock in CLOCKS.items()}

    ratios: dict[str, list[float]] = {name: [] for name in CLOCKS}
    for i in range(samples + 2):
        prompts = [
            {"prompt_token_ids": [rng.randrange(3, 256) for _ in range(prompt_tokens)]}
            for _ in range(at_once)
        ]
        seconds = {with_runtime: dict.fromkeys(CLOCKS, 0.0) for with_runtime in (False, True)}
        first = rng.random() < 0.5
        for with_runtime in (first, not first, not first, first):  # what drifts meanwhile falls on both alike
            if with_runtime:
                toggle.put_in()
            with polling.on() if with_runtime else nullcontext():
                took = timed(prompts)
            if with_runtime:
                toggle.take_out()
            for name in CLOCKS:
                seconds[with_runtime][name] += took[name]
        if i >= 2:  # the first two warm up
            for name in CLOCKS:
                ratios[name].append(seconds[True][name] / seconds[False][name])
    return ratios


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=150, help="samples of each shape")
    samples = parser.parse_args().samples
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        llm = engine(Path(folder) / "model")
    from indexcache_runtime.access import Credentials
    from indexcache_runtime.control.server import serve
    from indexcache_runtime.vllm.engine_core.takeover import adopt

    core = llm.llm_engine.engine_core.engine_core
    credentials = Credentials("token")
    controls: list[Any] = []
    objects = [core, core.scheduler, core.scheduler.kv_cache_manager, core.model_executor.driver_worker]
    toggle = Toggle(objects, lambda: controls.append(adopt(core, credentials)))
    toggle.take_out()
    _, port = serve(controls[0], credentials, 0)
    polling = Polling(port, credentials.token)

    report = Report(
        RESULT,
        f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')} python -m benchmarks.off_cost --samples "
        f"{samples}",
    )
    versions = {name: version(name) for name in ("vllm", "torch", "indexcache-runtime")} | {
        "python": platform.python_version()
    }
    report.begin(f"{os.cpu_count()} cores, {cpu()}", versions)
    for name, shape in SHAPES.items():
        for clock, ratios in measure(llm, toggle, polling, shape, samples, rng).items():
            tell(report, f"{name}, {clock}", ratios)
    state = controls[0].state()
    assert state.steps.full > 0  # it did count, so it was in


def tell(report: Report, name: str, ratios: list[float]) -> None:
    """Report a row: the median, with its interval."""
    low, high = interval(lambda which: statistics.median(ratios[i] for i in which), len(ratios))
    report.row(name, statistics.median(ratios), "ratio", len(ratios), low=low, high=high)


def cpu() -> str:
    """Return the processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


if __name__ == "__main__":
    main()

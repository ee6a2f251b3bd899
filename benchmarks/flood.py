"""Measures what strangers who flood the control port cost a real engine: vLLM on one core, they on another.

    python -m benchmarks.flood [--kinds "endless header" ...] [--pairs 3] [--seconds 3] [--kills 4]
        [--cores 0 1] [--out benchmarks/results/flood.json]

A few requests are kept running. For each kind of flood (benchmarks/flood_strangers.py) its steps a second are
taken without and with the flood in turn, in pairs whose order changes: by the clock, and by the engine's own
processor time, which other work on the machine disturbs less. Then some kills are sent amid the flood, each
over a connection of its own, and timed from before it is opened until the engine says that it is off. The
process's memory is watched all the time.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import httpx
from indexcache_core.contract import Mode

from benchmarks.flood_strangers import KINDS
from benchmarks.report import Report, say
from benchmarks.scale_process import Watched
from tests.engine.served import Server, serving

RESULT = Path(__file__).with_name("results") / "flood.json"
RUNNING, PROMPT_TOKENS, TOKENS = 4, 64, 48
"""Short requests: a step under long contexts takes longer, and each window is to have all lengths."""
SETTLING_SECONDS, WATCH_SECONDS = 0.5, 0.05
KILL_SECONDS = 30.0
ARGS = ["--skip-tokenizer-init", "--distributed-executor-backend", "uni", "--no-enable-prefix-caching"]


class Load:
    """Keeps a few requests running in an engine."""

    def __init__(self, server: Server) -> None:
        """Begin at once."""
        self._server, self._ends = server, threading.Event()
        self._pool = ThreadPoolExecutor(RUNNING)
        for number in range(RUNNING):
            self._pool.submit(self._keep, number)

    def _keep(self, number: int) -> None:
        prompt = [3 + (number * 31 + i * 7) % 250 for i in range(PROMPT_TOKENS)]
        while not self._ends.is_set():
            self._server.ask(prompt, tokens=TOKENS)

    def end(self) -> None:
        """Send no more, and wait for what runs."""
        self._ends.set()
        self._pool.shutdown()


class Memory:
    """Notes the most memory that a process held."""

    def __init__(self, pid: int) -> None:
        """Begin at once, in a thread that ends with the process."""
        self.process = Watched(pid)
        self.most = self.now()
        threading.Thread(target=self._watch, daemon=True).start()

    def now(self) -> float:
        """Return what it holds, in MiB."""
        return self.process.resident()

    def begin(self) -> float:
        """Forget the most until now. Return what it holds."""
        self.most = self.now()
        return self.most

    def _watch(self) -> None:
        while True:
            time.sleep(WATCH_SECONDS)
            try:
                self.most = max(self.most, self.now())
            except (OSError, AssertionError):
                return


def engine_pid(server: Server) -> int:
    """Return the process that holds the engine and its control port."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "-s", str(server.process.pid)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    (pid,) = (int(line.split()[0]) for line in listed if "EngineCore" in line)
    return pid


@contextmanager
def flooding(kind: str, port: int, core: int) -> Iterator[None]:
    """Let strangers flood a port for the time of a block."""
    words = [sys.executable, "-m", "benchmarks.flood_strangers", kind, str(port), str(core)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == b"floods\n"
            time.sleep(SETTLING_SECONDS)
            yield
        finally:
            started.kill()


@dataclass(frozen=True)
class Done:
    """Says how many steps an engine took, in how many seconds, of the clock and of its processor's."""

    steps: int
    seconds: float
    busy: float

    def __sub__(self, other: "Done") -> "Done":
        """Return what was done since another."""
        return Done(self.steps - other.steps, self.seconds - other.seconds, self.busy - other.busy)


def done(server: Server, process: Watched) -> Done:
    """Return what an engine has done so far."""
    steps = server.state().steps
    return Done(steps.full + steps.reuse + steps.reuse_all_full, time.monotonic(), process.seconds())


def done_in(server: Server, process: Watched, seconds: float) -> Done:
    """Return what an engine does in a while."""
    first = done(server, process)
    time.sleep(seconds)
    return done(server, process) - first


def seconds_to_kill(server: Server) -> float:
    """Turn reuse on, and kill it as somebody new who has the token. Return after how long it is off."""
    server.put("on")
    headers = dict(server.control.headers)
    began = time.monotonic()
    with httpx.Client(base_url=server.control.base_url, headers=headers, timeout=KILL_SECONDS) as client:
        answer = client.post("/v1/kill", json={"reason": "flood"}).raise_for_status().json()
    assert Mode(answer["mode"]) is Mode.TRIPPED
    return time.monotonic() - began


def measure(server: Server, memory: Memory, kind: str, args: argparse.Namespace, report: Report) -> None:
    """Measure one kind of flood."""
    port = server.control.base_url.port
    assert port is not None
    before, pairs = memory.begin(), list[dict[bool, Done]]()
    for pair in range(args.pairs):
        found: dict[bool, Done] = {}
        for floods in (False, True) if pair % 2 else (True, False):
            with flooding(kind, port, args.cores[0]) if floods else nullcontext():
                found[floods] = done_in(server, memory.process, args.seconds)
        pairs.append(found)
    with flooding(kind, port, args.cores[0]):
        kills = [seconds_to_kill(server) for _ in range(args.kills)]
    server.put("off")
    rates = [[round(each.steps / each.seconds, 2) for _, each in sorted(pair.items())] for pair in pairs]
    report.row(f"steps, {kind}", statistics.median(b / a for a, b in rates), "of those without it", rates)
    work = [sum(p[f].steps for p in pairs) / sum(p[f].busy for p in pairs) for f in (False, True)]
    unit = "steps of a second of the engine's processor time, of those without it"
    report.row(f"work, {kind}", work[1] / work[0], unit, [round(each, 2) for each in work])
    report.row(f"memory, {kind}", memory.most - before, "MiB more, at most", [before, memory.most])
    report.row(f"kill, {kind}", max(kills), "s, at most", [round(each, 4) for each in kills])


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--cores", type=int, nargs=2, default=(0, 1), help="the strangers', the engine's")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    from dsa_cpu import random_model

    report = Report(args.out, "python -m benchmarks.flood")
    report.begin(platform.machine(), {"vllm": version("vllm"), "python": platform.python_version()})
    os.sched_setaffinity(0, {args.cores[1]})  # what is started from here on is the engine's
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_model.write(folder / "model", "DeepseekV32ForCausalLM", seed=0)
        with serving(folder, folder / "model", ARGS, {"VLLM_PLUGINS": "dsa_cpu,indexcache"}) as server:
            os.sched_setaffinity(0, {args.cores[0]})
            load, memory = Load(server), Memory(engine_pid(server))
            say(f"{done_in(server, memory.process, args.seconds)}, {memory.now():.0f} MiB")
            for kind in args.kinds:
                measure(server, memory, kind, args, report)
            load.end()


if __name__ == "__main__":
    main()

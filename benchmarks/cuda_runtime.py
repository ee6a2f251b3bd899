"""The runtime on CUDA beside vLLM alone: what switching costs, what reuse gains, how fast it ends.

    python -m benchmarks.cuda_runtime [--stages ratios,switching,speedups] [--out benchmarks/results/cuda_runtime.json]

All arms stand on one GPU at once and run in turns, round after round, so that a ratio compares neighbours in time; each ratio is that of
medians, the worst over contexts and over prefill or decode as its name says. Ratios near 1 are taken on a model cut to the layers of which
three fit beside each other; speedups on all layers, one arm after another. Weights are random: time doesn't depend on them.

What was measured before is kept in the file, by the name of the row; each row says on how many layers, and when.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.cuda_engine import Arm

LAYERS, CUT = 47, 16
CONTEXTS = {10_240: 16, 61_440: 5, 122_880: 3, 200_000: 2}
"""Tokens, and rounds of prefills in turns."""
DECODED, DECODES = 96, 14
"""Tokens generated at a time, and rounds of it in turns: the prompts are in the cache."""
FULL = 4
"""Contexts of the longest kind that fill an arm's cache."""
MEASURED = ("shadow", "on measured")
"""Arms that measure."""
KV_TOKEN = 576 * 2 + 132
"""Bytes of a token's keys and values in one layer, its index key included."""


def pattern(layers: int) -> str:
    """13 of 47 Full: vLLM's own arithmetic for a frequency of 4."""
    return "".join("F" if max(i - 1, 0) % 4 == 0 else "S" for i in range(layers))


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Report:
    """The file of results: rows by name."""

    def __init__(self, path: Path, command: str) -> None:
        self.path, self.command = path, command
        self.data: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"rows": []}

    def versions(self, found: dict[str, str]) -> None:
        """Hardware and versions of this run."""
        hardware = found.pop("gpu")
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
        self.data |= {"hardware": hardware, "versions": found, "commit": commit or "unknown", "command": self.command}
        self.data["date"] = datetime.now(UTC).strftime("%Y-%m-%d")

    def row(self, name: str, value: float, unit: str, samples: Any) -> None:
        """Put a row into the file at once, so that an interrupted run loses nothing."""
        rows = [r for r in self.data["rows"] if r["name"] != name]
        self.data["rows"] = [*rows, {"name": name, "value": round(value, 5), "unit": unit, "samples": samples}]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.data, indent=1) + "\n")
        say(f"{name:32} {value:10.4f} {unit}")


def start(report: Report, layers: int, **contexts: int) -> dict[str, Arm]:
    """Engines by name, beside each other; each has a cache for so many of the longest contexts."""
    began = time.monotonic()
    kv = int(1.05 * max(CONTEXTS) * KV_TOKEN * layers)
    shape: dict[str, Any] = {"layers": layers, "pattern": pattern(layers), "tokens": max(CONTEXTS), "port": 9470}
    arms = {name: Arm(name, kv_bytes=n * kv, **shape) for name, n in contexts.items()}
    for name in arms:
        report.versions(arms[name].ready())
        say(f"{name}: {layers} layers, ready after {time.monotonic() - began:.0f} s")
    return arms


class Runs:
    """Seconds of prefills, and for each decoded token, by arm and context."""

    def __init__(self) -> None:
        self.seconds: dict[str, dict[tuple[str, int], list[float]]] = {"prefill": defaultdict(list), "decode": defaultdict(list)}

    def prefill(self, name: str, arm: Arm, length: int) -> None:
        """A fresh prompt."""
        self.seconds["prefill"][name, length].append(arm.prefill(length, name))

    def decode(self, name: str, arm: Arm, length: int) -> None:
        """Some tokens after it."""
        self.seconds["decode"][name, length].append(arm.decode(DECODED, name))

    def typical(self, what: str, name: str, length: int) -> float:
        """Of one kind, arm and context: the median; the mean where few steps of many are measured, and their price is what is asked."""
        of = statistics.fmean if what == "decode" and name in MEASURED else statistics.median
        return of(self.seconds[what][name, length])

    def told(self, name: str, length: int) -> str:
        """For people."""
        return f"{name} {self.typical('prefill', name, length):.3f} s {1000 * self.typical('decode', name, length):.3f} ms"

    def samples(self, *names: str) -> dict[str, list[float]]:
        """For the file."""
        return {
            f"{what} {name} {length}": [round(x, 6) for x in xs]
            for what, all_runs in self.seconds.items()
            for (name, length), xs in all_runs.items()
            if name in names
        }


def ratios(report: Report) -> None:
    """Everything that should be 1."""
    arms = start(report, CUT, unpatched=FULL, static=FULL, ours=FULL)
    ours, p = arms["ours"], pattern(CUT)
    settings: dict[str, Callable[[], Any]] = {
        "unpatched": lambda: None,
        "off": lambda: ours.put("off", p),
        "shadow": lambda: ours.put("shadow", p),
        "static": lambda: None,
        "on": lambda: ours.put("on", p, 0),
        "on measured": lambda: ours.put("on", p),
    }
    runs = Runs()
    for name, setting in settings.items():  # to warm up
        setting()
        arms.get(name, ours).prefill(30_000)
        arms.get(name, ours).decode(64)
    for length, rounds in CONTEXTS.items():
        for arm in arms.values():
            arm.clear()
        for take, times in ((runs.prefill, 1), (runs.decode, DECODES), (runs.prefill, rounds - 1)):
            for _ in range(times):
                for name, setting in settings.items():
                    setting()
                    take(name, arms.get(name, ours), length)
        say(f"{length}: " + ", ".join(runs.told(name, length) for name in settings))
    for name, over, under, which in (
        ("prefill_on_over_native", "on", "static", ("prefill",)),
        ("decode_on_over_native", "on", "static", ("decode",)),
        ("off_over_unpatched", "off", "unpatched", ("prefill", "decode")),
        ("shadow_over_off", "shadow", "off", ("prefill", "decode")),
        ("on_measured_over_on", "on measured", "on", ("prefill", "decode")),
    ):
        each = {f"{what} {c}": round(runs.typical(what, over, c) / runs.typical(what, under, c), 5) for c in CONTEXTS for what in which}
        report.row(name, max(each.values()), f"ratio, {CUT} layers", {"worst_of": each, "seconds": runs.samples(over, under)})
    cache(report, arms, p)
    full_cache(report, arms, p)
    for arm in arms.values():
        arm.close()


def cache(report: Report, arms: dict[str, Arm], p: str) -> None:
    """After a kill no block computed under reuse is served to the baseline."""
    import random

    g = random.Random(1)
    shared = [[g.randrange(2, 32000) for _ in range(6000)] for _ in range(5)]
    prompts = [[*shared[i % 5][: 3000 + 60 * i], *(g.randrange(2, 32000) for _ in range(40))] for i in range(50)]
    clean = arms["unpatched"].answers(prompts, 16)
    control = arms["unpatched"].answers(prompts, 16)
    found = arms["ours"].tainted(p, prompts, 16)
    same = sum(a == b for a, b in zip(found["answers"], clean, strict=True))
    alike = sum(a == b for a, b in zip(control, clean, strict=True))
    detail = {
        "prompts": len(prompts),
        "answers_equal_to_a_clean_engine": same,
        "a_clean_engine_equal_to_itself": alike,
        "cached_blocks_served": found["served"],
        "blocks_made_under_reuse": found["made_under_reuse"],
    }
    report.row("tainted_blocks", found["tainted"], f"blocks, {CUT} layers", detail)


def full_cache(report: Report, arms: dict[str, Arm], p: str) -> None:
    """Decoding with the cache full of long contexts: the more contexts, the more of a step is the indexers'."""
    arms["ours"].put("on", p, 0)
    rates: dict[str, float] = {}
    for name, arm in arms.items():
        arm.clear()
        rates[name] = round(arm.full_cache(FULL, max(CONTEXTS), 512), 2)
    detail = {"tokens_a_second": rates, "native": round(rates["static"] / rates["unpatched"], 4), "contexts": FULL}
    report.row("decode_full_cache_speedup", rates["ours"] / rates["unpatched"], f"x, {CUT} layers", detail)


def switching(report: Report) -> None:
    """How fast reuse ends, and a new pattern begins, under load; and what memory it takes."""
    arms = start(report, CUT, ours=2)
    ours, p = arms["ours"], pattern(CUT)
    took = ours.kills(p, 100, 64, 1000)
    milliseconds = sorted(round(1000 * t, 2) for t in took)
    report.row("kill_p99_ms", milliseconds[98], f"ms, {CUT} layers, 64 requests", milliseconds)
    kill, step = ours.kill_in_prefill(p, 120_000)
    report.row("kill_in_prefill_ms", 1000 * kill, f"ms, {CUT} layers", {"step_under_way_ms": round(1000 * step, 1)})
    other = "F" + "S" * (CUT - 1)
    seconds, longest, usual = ours.new_pattern(other, 64, 1000)
    gaps = {"longest_step_s": round(longest, 4), "usual_step_s": round(usual, 4)}
    report.row("new_pattern_s", seconds, f"s, {CUT} layers, 64 requests", gaps)
    ours.put("on", p)
    ours.prefill(max(CONTEXTS))
    ours.decode(600)
    device = ours.state()["device"]
    report.row("graphs_gib", device["graph_bytes"] / 2**30, f"GiB, {CUT} layers", device)
    report.row("scratch_gib", device["scratch_bytes"] / 2**30, f"GiB, {CUT} layers", device)
    arms["ours"].close()


def speedups(report: Report) -> None:
    """What reuse gains on all layers, and what vLLM's own static pattern does."""
    runs, long = Runs(), max(CONTEXTS)
    for name in ("unpatched", "static", "ours"):
        arm = start(report, LAYERS, **{name: 1})[name]
        if name == "ours":
            arm.put("on", pattern(LAYERS), 0)
        arm.prefill(10_240)
        arm.decode(64)
        for _ in range(2):
            runs.prefill(name, arm, long)
        for _ in range(DECODES):
            runs.decode(name, arm, long)
        arm.close()
        say(runs.told(name, long))
    for name, what in (("prefill_200k_speedup", "prefill"), ("decode_200k_speedup", "decode")):
        full, ours, static = (runs.typical(what, arm, long) for arm in ("unpatched", "ours", "static"))
        samples = {"native": round(full / static, 4), "seconds": runs.samples("unpatched", "static", "ours")}
        report.row(name, full / ours, f"x, {LAYERS} layers", samples)


STAGES: dict[str, Callable[[Report], None]] = {
    "ratios": ratios,
    "switching": switching,
    "speedups": speedups,
}


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/cuda_runtime.json"))
    arguments = parser.parse_args()
    report = Report(arguments.out, "python -m benchmarks.cuda_runtime")
    for stage in arguments.stages.split(","):
        STAGES[stage](report)
    for row in report.data["rows"]:
        print(f"{row['name']:32} {row['value']:10.4f} {row['unit']}")


if __name__ == "__main__":
    sys.exit(main())

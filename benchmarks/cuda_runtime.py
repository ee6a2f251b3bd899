"""The runtime on CUDA beside vLLM alone: what switching costs, what reuse gains, how fast it ends.

    python -m benchmarks.cuda_runtime [--stages baseline,reuse,switching,speedups] [--out benchmarks/results/cuda_runtime.json]

What should be 1 is taken of two engines that stand on one GPU at once and run in turns, round after round, on a model cut to the layers
that fit twice: `baseline`, off and shadow beside vLLM without our runtime; `reuse`, on beside vLLM's own static pattern. A ratio is that of
medians, the worst over contexts and over prefill or decode as its name says; each row has all of them, with bootstrap intervals of 95 %.
`speedups` are taken on all layers, one engine after another, and with a full cache; `alone` are those without it, for another setting of
vLLM, as VLLM_SPARSE_INDEXER_MAX_LOGITS_MB=4096 with a file of its own. Weights are random: time doesn't depend on them.

Rows of earlier runs stay in the file; each says on how many layers it was taken.
"""

import argparse
import os
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cuda_engine import Arm
from benchmarks.report import Report, interval, say

LAYERS, CUT = 47, 32
CONTEXTS = {10_240: 10, 61_440: 5, 122_880: 3, 200_000: 2}
"""Tokens, and rounds of prefills in turns."""
LONG = max(CONTEXTS)
DECODED, DECODES = 96, 14
"""Tokens generated at a time, and rounds of it in turns: the prompts are in the cache."""
FULL = 5
"""Longest contexts that fill the cache of an engine of all layers."""
MEASURED = ("shadow", "on measured")
"""Arms that measure."""
KV_TOKEN = 576 * 2 + 132
"""Bytes of a token's keys and values in one layer, its index key included."""


def pattern(layers: int) -> str:
    """13 of 47 Full: vLLM's own arithmetic for a frequency of 4."""
    return "".join("F" if max(i - 1, 0) % 4 == 0 else "S" for i in range(layers))


def start(report: Report, layers: int, contexts: int, *names: str) -> dict[str, Arm]:
    """Engines by name, beside each other, each with a cache for so many of the longest contexts."""
    began = time.monotonic()
    kv = int(1.05 * contexts * LONG * KV_TOKEN * layers)
    arms = {name: Arm(name, kv_bytes=kv, layers=layers, pattern=pattern(layers), tokens=LONG, port=9470) for name in names}
    for name, arm in arms.items():
        versions = arm.ready()
        report.begin(versions.pop("gpu"), versions)
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

    def typical(self, what: str, name: str, length: int, which: Sequence[int] | None = None) -> float:
        """Of one kind, arm and context: the median; the mean where few steps of many are measured, and their price is what is asked."""
        of = statistics.fmean if what == "decode" and name in MEASURED else statistics.median
        taken = self.seconds[what][name, length]
        return of(taken if which is None else [taken[i] for i in which])

    def ratio(self, what: str, over: str, under: str, length: int) -> dict[str, float]:
        """With its interval; rounds are drawn, as arms are neighbours in time within one."""

        def of(which: Sequence[int] | None) -> float:
            return self.typical(what, over, length, which) / self.typical(what, under, length, which)

        low, high = interval(of, len(self.seconds[what][over, length]))
        return {"ratio": round(of(None), 5), "low": low, "high": high}

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


def beside(arms: dict[str, Arm], settings: dict[str, Callable[[], Any]]) -> Runs:
    """All settings in turns; one that no arm is called after is of ours."""
    runs = Runs()
    for name, setting in settings.items():  # to warm up
        setting()
        arms.get(name, arms["ours"]).prefill(30_000)
        arms.get(name, arms["ours"]).decode(64)
    for length, rounds in CONTEXTS.items():
        for arm in arms.values():
            arm.clear()
        for take, times in ((runs.prefill, 1), (runs.decode, DECODES), (runs.prefill, rounds - 1)):
            for _ in range(times):
                for name, setting in settings.items():
                    setting()
                    take(name, arms.get(name, arms["ours"]), length)
        say(f"{length}: " + ", ".join(runs.told(name, length) for name in settings))
    return runs


def ratio(report: Report, runs: Runs, row: str, over: str, under: str, *kinds: str, **detail: Any) -> None:
    """A row: the worst ratio, and all of them."""
    each = {f"{what} {length}": runs.ratio(what, over, under, length) for length in CONTEXTS for what in kinds}
    worst = max(each.values(), key=lambda r: r["ratio"])
    samples = {"each": each, "seconds": runs.samples(over, under), **detail}
    report.row(row, worst["ratio"], f"ratio, {CUT} layers", samples, low=worst["low"], high=worst["high"])


def baseline(report: Report) -> None:
    """Off and shadow beside vLLM alone; and what a kill leaves in the cache."""
    arms, p = start(report, CUT, 2, "unpatched", "ours"), pattern(CUT)
    ours = arms["ours"]
    runs = beside(arms, {"unpatched": lambda: None, "off": lambda: ours.put("off", p), "shadow": lambda: ours.put("shadow", p)})
    ratio(report, runs, "off_over_unpatched", "off", "unpatched", "prefill", "decode")
    ratio(report, runs, "shadow_over_off", "shadow", "off", "prefill", "decode", measured_steps=ours.measured_steps())
    cache(report, arms, p)
    for arm in arms.values():
        arm.close()


def reuse(report: Report) -> None:
    """On beside vLLM's own static pattern, and with measurement."""
    arms, p = start(report, CUT, 2, "static", "ours"), pattern(CUT)
    ours = arms["ours"]
    settings = {"static": lambda: None, "on": lambda: ours.put("on", p, 0), "on measured": lambda: ours.put("on", p)}
    runs = beside(arms, settings)
    ratio(report, runs, "prefill_on_over_native", "on", "static", "prefill")
    ratio(report, runs, "decode_on_over_native", "on", "static", "decode")
    ratio(report, runs, "on_measured_over_on", "on measured", "on", "prefill", "decode", measured_steps=ours.measured_steps())
    for arm in arms.values():
        arm.close()


def cache(report: Report, arms: dict[str, Arm], p: str) -> None:
    """After a kill no block computed under reuse is served to the baseline."""
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


def switching(report: Report) -> None:
    """How fast reuse ends, and a new pattern begins, under load; and what memory it takes."""
    ours, p = start(report, CUT, 2, "ours")["ours"], pattern(CUT)
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
    ours.prefill(LONG)
    ours.decode(600)
    device = ours.state()["device"]
    report.row("graphs_gib", device["graph_bytes"] / 2**30, f"GiB, {CUT} layers", device)
    report.row("scratch_gib", device["scratch_bytes"] / 2**30, f"GiB, {CUT} layers", device)
    ours.close()


def speedups(report: Report, contexts: int = FULL) -> None:
    """What reuse gains on all layers, and what vLLM's own static pattern does: alone, and with the cache full of long contexts, where the
    more of them there are, the more of a decode step is the indexers'."""
    runs, full = Runs(), {}
    for name in ("unpatched", "static", "ours"):
        arm = start(report, LAYERS, contexts, name)[name]
        if name == "ours":
            arm.put("on", pattern(LAYERS), 0)
        arm.prefill(10_240)
        arm.decode(64)
        arm.clear()
        for _ in range(contexts):
            runs.prefill(name, arm, LONG)
        for _ in range(DECODES):
            runs.decode(name, arm, LONG)
        full[name] = round(arm.decode_all(256), 2)
        arm.close()
        say(f"{runs.told(name, LONG)}, {contexts} contexts at once {full[name]} tokens/s")
    for row, what in (("prefill_200k_speedup", "prefill"), ("decode_200k_speedup", "decode")):
        of = {arm: runs.typical(what, arm, LONG) for arm in full}
        samples = {"native": round(of["unpatched"] / of["static"], 4), "seconds": runs.samples(*full)}
        report.row(row, of["unpatched"] / of["ours"], f"x, {LAYERS} layers", samples)
    if contexts < FULL:
        return
    detail = {"tokens_a_second": full, "native": round(full["static"] / full["unpatched"], 4), "contexts": FULL}
    report.row("decode_full_cache_speedup", full["ours"] / full["unpatched"], f"x, {LAYERS} layers", detail)


STAGES: dict[str, Callable[[Report], None]] = {
    "baseline": baseline,
    "reuse": reuse,
    "switching": switching,
    "speedups": speedups,
    "alone": lambda report: speedups(report, contexts=1),
}
LOGITS = "VLLM_SPARSE_INDEXER_MAX_LOGITS_MB"
"""vLLM's limit of memory for a prefill's index scores: with more, fewer passes."""


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stages", default="baseline,reuse,switching,speedups")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/cuda_runtime.json"))
    parser.add_argument("--commit", default="", help="of the code that runs, where no git tells")
    arguments = parser.parse_args()
    environment = f"{LOGITS}={os.environ[LOGITS]} " if LOGITS in os.environ else ""
    report = Report(arguments.out, f"{environment}python -m benchmarks.cuda_runtime --stages {arguments.stages}", arguments.commit)
    for stage in arguments.stages.split(","):
        STAGES[stage](report)
    for row in report.data["rows"]:
        print(f"{row['name']:32} {row['value']:10.4f} {row['unit']}")


if __name__ == "__main__":
    main()

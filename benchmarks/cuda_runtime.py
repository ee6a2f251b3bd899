"""The runtime on CUDA beside vLLM alone: what switching costs, what reuse gains, how fast it ends.

    python -m benchmarks.cuda_runtime [--stages prefill,decode,switching,speedups,fast] [--attention-backend
    FLASHMLA_SPARSE]
        [--out benchmarks/results/cuda_runtime.json]

What should be 1 is taken of engines that stand on one GPU at once and run in turns: vLLM alone, vLLM's own
static pattern, and ours, off, in shadow, under reuse, and under reuse with measurement. For prefills the
model is cut to fewer layers: they take the device's whole power, so that its clock wanders, and many short
ones in turns tell more than few long ones. For decoding it is cut to the layers that fit twice, since short
steps would take what the host takes. A row is the worst over contexts and, where its name has no kind, over
both. `prefill-off` and `prefill-on`, `decode-off` and `decode-on` are the two parts of `prefill` and
`decode`, which need not share a GPU. `speedups` are taken on all layers, one engine after another, and with a
full cache; `alone` are those without it, for another setting of vLLM, as
VLLM_SPARSE_INDEXER_MAX_LOGITS_MB=4096 with a file of its own. `fast` is indexer Fast, in prefills and
decoding. Weights are random: time doesn't depend on them.

All arms run under the attention backend that vLLM takes by itself. Where another is asked for
(`--attention-backend`), its rows have names that end with it; what is gained is gained over stock vLLM by its
defaults there too.

Rows of earlier runs stay in the file; each says on how many layers it was taken, and under which backend.
"""

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.cuda_engine import Arm
from benchmarks.cuda_turns import DECODED, Setting, Turns
from benchmarks.report import Report, say

LAYERS, CUT, SHORT = 47, 22, 14
"""Layers: all; for switching; for prefills."""
BATCHED = 8192
"""Tokens of a step at most while decoding is measured: activations of fewer leave room for layers."""
CONTEXTS = {10_240: 120, 61_440: 20, 122_880: 8, 200_000: 5}
"""Tokens, and rounds of prefills in turns."""
LONG = max(CONTEXTS)
DECODES, STARTS = 5, 3
"""Rounds of decoding in turns, and how often engines are started for it."""
SEVEN = "".join("F" if i % 7 == 0 else "S" for i in range(LAYERS))
"""A pattern with 7 Full layers."""
FULL = 5
"""Longest contexts that fill the cache of an engine of all layers."""
REPEATS = 3
"""Prefills of the longest context at least, of each engine of all layers."""
KV_TOKEN = 576 * 2 + 132
"""Bytes of a token's keys and values in one layer, its index key included."""
LAYER, ENGINE = 635_000_000 * 2, 4 << 30
"""Bytes of a layer's weights; of what an engine takes besides weights and cache."""


def pattern(layers: int) -> str:
    """Return 13 Full of 47, by vLLM's own arithmetic for a frequency of 4; of fewer layers its end, so that
    it has its share of Shared ones.
    """
    return "".join("F" if max(i - 1, 0) % 4 == 0 else "S" for i in range(LAYERS))[-layers:]


def memory() -> int:
    """Return the device's memory in bytes."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory


def fitting(contexts: dict[str, int], whole: int) -> int:
    """Return how many layers, all at most, so many bytes hold of all these engines, their pattern's first one
    Full."""
    each = LAYER * len(contexts) + cached(1) * sum(contexts.values())
    return next(
        n for n in range(LAYERS, 0, -1) if pattern(n)[0] == "F" and n * each + ENGINE * len(contexts) <= whole
    )


def cached(layers: int) -> int:
    """Return the bytes of one of the longest contexts' keys and values, and some to spare."""
    return int(1.05 * LONG * KV_TOKEN * layers)


def asked(report: Report) -> str | None:
    """Return the attention backend that was asked for; None: vLLM takes what it takes by itself."""
    return report.kind.upper() or None


def start(report: Report, layers: int, contexts: dict[str, int], **more: Any) -> dict[str, Arm]:
    """Start engines beside each other, each with a cache for so many of the longest contexts; return them by
    name."""
    began = time.monotonic()
    size = cached(layers)
    options: dict[str, Any] = {
        "layers": layers,
        "pattern": pattern(layers),
        "tokens": LONG,
        **({"backend": asked(report)} | more),
    }
    arms = {name: Arm(name, kv_bytes=n * size, **options) for name, n in contexts.items()}
    for name, arm in arms.items():
        versions = arm.ready()
        report.under(name, backend := versions.pop("backend"))
        report.begin(versions.pop("gpu"), versions)
        say(f"{name}: {layers} layers, {backend}, ready after {time.monotonic() - began:.0f} s")
    return arms


def baseline(arms: dict[str, Arm], layers: int) -> dict[str, Setting]:
    """Return the settings that run all Full."""
    ours, p = arms["ours"], pattern(layers)
    unpatched, off = Setting(arms["unpatched"]), Setting(ours, lambda: ours.put("off", p))
    return {
        "unpatched": unpatched,
        "off": off,
        "shadow": Setting(ours, lambda: ours.put("shadow", p), measures=True),
    }


def reuse(arms: dict[str, Arm], layers: int) -> dict[str, Setting]:
    """Return the settings that reuse; not in turns with the baseline, for one that goes to and fro captures
    its graphs each time.
    """
    ours, p = arms["ours"], pattern(layers)
    static, on = Setting(arms["static"]), Setting(ours, lambda: ours.put("on", p, 0))
    return {
        "static": static,
        "on": on,
        "on measured": Setting(ours, lambda: ours.put("on", p), measures=True),
    }


Group = tuple[Callable[[dict[str, Arm], int], dict[str, Setting]], Turns, dict[str, tuple[str, str]]]


def groups(kind: str) -> tuple[Group, ...]:
    """Return the settings that take turns, the times of all starts, and the rows that they give."""
    return (
        (
            baseline,
            Turns(kind, {}),
            {"off_over_unpatched": ("off", "unpatched"), "shadow_over_off": ("shadow", "off")},
        ),
        (
            reuse,
            Turns(kind, {}),
            {f"{kind}_on_over_native": ("on", "static"), "on_measured_over_on": ("on measured", "on")},
        ),
    )


def ratios(report: Report, of: Group, arms: dict[str, Arm], layers: int) -> None:
    """Report what should be 1, of prefill or of decode, by one more start of the engines."""
    settings, turns, rows = of
    turns.settings = settings(arms, layers)
    turns.warm_up(30_000)
    for length, rounds in CONTEXTS.items():
        if turns.kind == "prefill":
            turns.prefill(length, rounds)
        else:
            turns.decode(length, DECODES)
        for name, (over, under) in rows.items():
            turns.row(report, name, over, under, layers)


BESIDE = ("unpatched", "static")
"""Arms beside ours: all Full, and under reuse."""


def prefilling(report: Report, group: int) -> None:
    """Report prefills in turns, ours and vLLM's."""
    arms = start(report, SHORT, {BESIDE[group]: 1, "ours": 1})
    ratios(report, groups("prefill")[group], arms, SHORT)
    for arm in arms.values():
        arm.close()


def decoding(report: Report, group: int) -> None:
    """Report decoding in turns, ours and vLLM's, by engines that are started several times; and, all Full,
    what a kill leaves in the cache.
    """
    contexts = {BESIDE[group]: 1, "ours": 1}
    layers = fitting(contexts, memory())
    taken = groups("decode")[group]
    for n in range(STARTS):
        arms = start(report, layers, contexts, batched=BATCHED)
        if n == 0 and "unpatched" in arms:
            cache(report, arms, layers)
        ratios(report, taken, arms, layers)
        for arm in arms.values():
            arm.close()


def both(part: Callable[[Report, int], None]) -> Callable[[Report], None]:
    """Return a stage of all Full and of reuse."""

    def stage(report: Report) -> None:
        part(report, 0)
        part(report, 1)

    return stage


def cache(report: Report, arms: dict[str, Arm], layers: int) -> None:
    """Report that after a kill no block computed under reuse is served to the baseline."""
    g = random.Random(1)
    shared = [[g.randrange(2, 32000) for _ in range(6000)] for _ in range(5)]
    prompts = [
        [*shared[i % 5][: 3000 + 60 * i], *(g.randrange(2, 32000) for _ in range(40))] for i in range(50)
    ]
    clean = arms["unpatched"].answers(prompts, 16)
    control = arms["unpatched"].answers(prompts, 16)
    found = arms["ours"].tainted(pattern(layers), prompts, 16)
    same = sum(a == b for a, b in zip(found["answers"], clean, strict=True))
    alike = sum(a == b for a, b in zip(control, clean, strict=True))
    detail = {
        "prompts": len(prompts),
        "answers_equal_to_a_clean_engine": same,
        "a_clean_engine_equal_to_itself": alike,
        "blocks_made_under_reuse": found["made_under_reuse"],
        "blocks_asked_for": found["asked"],
        "blocks_served": found["tainted"] + found["clean"],
        "blocks_served_from_before_the_kill": found["clean_from_before_the_kill"],
        "hit_rate_of_baseline_blocks_from_before": round(
            found["clean_from_before_the_kill"] / found["asked"], 4
        ),
    }
    report.row("tainted_blocks", found["tainted"], f"blocks, {layers} layers", detail)


def switching(report: Report) -> None:
    """Report how fast reuse ends, and a new pattern begins, under load."""
    ours, p = start(report, CUT, {"ours": 2})["ours"], pattern(CUT)
    took = ours.kills(p, 100, 64, 1000)
    milliseconds = sorted(round(1000 * t, 2) for t in took)
    report.row("kill_p99_ms", milliseconds[98], f"ms, {CUT} layers, 64 requests", milliseconds)
    kill, step = ours.kill_in_prefill(p, 120_000)
    report.row(
        "kill_in_prefill_ms", 1000 * kill, f"ms, {CUT} layers", {"step_under_way_ms": round(1000 * step, 1)}
    )
    other = "F" + "S" * (CUT - 1)
    seconds, longest, usual = ours.new_pattern(other, 64, 1000)
    gaps = {"longest_step_s": round(longest, 4), "usual_step_s": round(usual, 4)}
    report.row("new_pattern_s", seconds, f"s, {CUT} layers, 64 requests", gaps)
    ours.close()


def speedups(report: Report, contexts: int = FULL) -> None:
    """Report what reuse gains on all layers, and what vLLM's own static pattern does: alone, and with the
    cache full of long contexts, where the more of them there are, the more of a decode step is the indexers'.
    """
    seconds: dict[str, dict[str, list[float]]] = {"prefill": {}, "decode": {}}
    full = {}
    for name in ("unpatched", "static", "ours"):
        backend = (
            None if name == "unpatched" else asked(report)
        )  # what is gained is gained over stock vLLM by its defaults
        arm = start(report, LAYERS, {name: contexts}, backend=backend)[name]
        if name == "ours":
            arm.put("on", pattern(LAYERS), 0)
        arm.prefill(10_240)
        arm.decode(64, 10_240)
        arm.clear()
        numbers = range(max(contexts, REPEATS))[::-1]  # the last of which is the one that is decoded
        seconds["prefill"][name] = [arm.prefill(LONG, number) for number in numbers]
        seconds["decode"][name] = [arm.decode(DECODED, LONG) for _ in range(FULL)]
        if contexts == FULL:
            full[name] = round(arm.decode_all(256), 2)
            if name == "ours":
                memory_of(report, arm)
        arm.close()
        each = {kind: 1000 * statistics.median(taken[name]) for kind, taken in seconds.items()}
        say(
            f"{name}: prefill {each['prefill']:.0f} ms, decode {each['decode']:.3f} ms"
            + (f", {contexts} contexts at once {full[name]} tokens/s" if full else "")
        )
    for kind, taken in seconds.items():
        speedup(report, f"{kind}_200k_speedup", taken)
    if contexts < FULL:
        return
    detail = {
        "tokens_a_second": full,
        "native": round(full["static"] / full["unpatched"], 4),
        "contexts": FULL,
    }
    report.row("decode_full_cache_speedup", full["ours"] / full["unpatched"], f"x, {LAYERS} layers", detail)


def speedup(report: Report, name: str, taken: dict[str, list[float]]) -> None:
    """Report by how much ours is faster, with what the same code took in earlier runs: an engine's decode
    steps differ from those of another that was started alike.

    taken: seconds of each arm.
    """
    old = report.find(name, same_commit=True)
    if old is not None:
        taken = {arm: [*old["samples"]["seconds"][arm], *xs] for arm, xs in taken.items()}
    of = {arm: statistics.median(xs) for arm, xs in taken.items()}
    low = min(taken["unpatched"]) / max(taken["ours"])
    high = max(taken["unpatched"]) / min(taken["ours"])
    samples = {"native": round(of["unpatched"] / of["static"], 4), "seconds": taken}
    value, unit = of["unpatched"] / of["ours"], f"x, {LAYERS} layers"
    report.row(name, value, unit, samples, low=round(low, 5), high=round(high, 5))


def fast(report: Report) -> None:
    """Report what indexer Fast gains where it chooses at Full layers: in long prefills, of the usual pattern
    and of one with 7 Full of 47, and in decoding, with one context and with the cache full of them; beside
    it what the usual pattern gains by vLLM's own indexer, in the same engine.
    """
    prefills: dict[str, list[float]] = {}
    decodes: dict[str, list[float]] = {}
    full: dict[str, float] = {}
    arms = {
        "unpatched": [("all Full", "", "", FULL)],
        "ours": [
            ("fast", pattern(LAYERS), "Fast", FULL),
            ("native", pattern(LAYERS), "Native", REPEATS),
            ("7 of 47", SEVEN, "Fast", REPEATS),
        ],
    }
    for name, settings in arms.items():
        backend = None if name == "unpatched" else asked(report)
        arm = start(report, LAYERS, {name: FULL}, backend=backend)[name]
        for setting, used, indexer, contexts in settings:
            if used:
                arm.put("on", used, 0, indexer)
            arm.prefill(10_240)
            arm.decode(64, 10_240)
            arm.clear()
            numbers = range(contexts)[::-1]  # the last of which is the one that is decoded
            prefills[setting] = [arm.prefill(LONG, number) for number in numbers]
            decodes[setting] = [arm.decode(DECODED, LONG) for _ in range(FULL)]
            if contexts == FULL:
                full[setting] = round(arm.decode_all(256), 2)
            each = (1000 * statistics.median(taken[setting]) for taken in (prefills, decodes))
            say(f"{setting}: prefill {next(each):.0f} ms, decode {next(each):.3f} ms, {full.get(setting)}")
        arm.close()
    for row, setting, taken in (
        ("prefill_200k_fast", "fast", prefills),
        ("prefill_200k_7_of_47_fast", "7 of 47", prefills),
        ("decode_200k_fast", "fast", decodes),
    ):
        all_full, ours = taken["all Full"], taken[setting]
        native = statistics.median(all_full) / statistics.median(taken["native"])
        samples = {"by_vllms_own_indexer": round(native, 4), "seconds": taken}
        value = statistics.median(all_full) / statistics.median(ours)
        low, high = min(all_full) / max(ours), max(all_full) / min(ours)
        report.row(row, value, f"x, {LAYERS} layers", samples, low=round(low, 5), high=round(high, 5))
    gain = full["fast"] / full["all Full"]
    detail = {"tokens_a_second": full, "contexts": FULL}
    report.row("decode_full_cache_fast", gain, f"x, {LAYERS} layers", detail)


def memory_of(report: Report, ours: Arm) -> None:
    """Report what all graphs of a pattern take, and measuring, on all layers."""
    ours.clear()
    ours.put("on", pattern(LAYERS))
    ours.prefill(LONG)
    ours.decode(600, LONG)
    device = ours.state()["device"]
    report.row("graphs_gib", device["graph_bytes"] / 2**30, f"GiB, {LAYERS} layers", device)
    report.row("scratch_gib", device["scratch_bytes"] / 2**30, f"GiB, {LAYERS} layers", device)


STAGES: dict[str, Callable[[Report], None]] = {
    "prefill": both(prefilling),
    "prefill-off": lambda report: prefilling(report, 0),
    "prefill-on": lambda report: prefilling(report, 1),
    "decode": both(decoding),
    "decode-off": lambda report: decoding(report, 0),
    "decode-on": lambda report: decoding(report, 1),
    "switching": switching,
    "speedups": speedups,
    "alone": lambda report: speedups(report, contexts=1),
    "fast": fast,
}
LOGITS = "VLLM_SPARSE_INDEXER_MAX_LOGITS_MB"
"""vLLM's limit of memory for a prefill's index scores: with more, fewer passes."""


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stages", default="prefill,decode,switching,speedups,fast")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/cuda_runtime.json"))
    parser.add_argument(
        "--attention-backend",
        default="",
        help="vLLM's own choice unless given; rows of another have names of their own",
    )
    parser.add_argument("--commit", default="", help="of the code that runs, where no git tells")
    arguments = parser.parse_args()
    environment = f"{LOGITS}={os.environ[LOGITS]} " if LOGITS in os.environ else ""
    kind = arguments.attention_backend.lower()
    command = f"{environment}python -m benchmarks.cuda_runtime --stages {arguments.stages}"
    command += f" --attention-backend {kind.upper()}" if kind else ""
    report = Report(arguments.out, command, arguments.commit, kind)
    for stage in arguments.stages.split(","):
        report.stage()
        STAGES[stage](report)
    for row in report.data["rows"]:
        print(f"{row['name']:32} {row['value']:10.4f} {row['unit']}")


if __name__ == "__main__":
    main()

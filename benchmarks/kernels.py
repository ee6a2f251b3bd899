"""The kernels by themselves, against what the device can do and against vLLM's own.

    python -m benchmarks.kernels [--out benchmarks/results/kernels.json] [--seconds 180]

`topk_speedup_*` is vLLM's default path over index_topk's best variant, for the last 16,384 rows of a prompt
of that length. `*_over_limit` is the time over that of copying as many bytes as the kernel must read and
write; several sets of inputs take turns, which the cache doesn't hold. Inputs are random throughout. What
doesn't fit in the time is left out, the last of it first, and said to be.
"""

import argparse
import multiprocessing
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import torch
from indexcache_kernels.index_keys import Indexer
from indexcache_kernels.index_keys.cases import Case as KeysCase
from indexcache_kernels.index_keys.cases import case as keys_case
from indexcache_kernels.index_keys.triton import calls_of, index_keys_triton, table_of
from indexcache_kernels.index_topk.cases import Case
from indexcache_kernels.reuse_overlap import reuse_overlap
from indexcache_kernels.reuse_overlap.naive import reuse_overlap_naive
from indexcache_kernels.reuse_overlap.triton import reuse_overlap_triton

from benchmarks import kernels_topk as topk
from benchmarks import kernels_topk_decode as topk_decode
from benchmarks.report import Report, say
from benchmarks.timing import Work, copy_bandwidth, events, fp8_rate, in_turns, replays

DEFAULT, WIDE = 512, 4096
"""VLLM_SPARSE_INDEXER_MAX_LOGITS_MB."""
ROUNDS = 9
SETS = 4
"""Of inputs that take turns: more than the cache holds."""
OVERLAP_ROWS, K, CONTEXT = 4096, 2048, 200_000
MEASURED_ROWS = 32
"""Of a step that the runtime measures, at most."""
HIDDEN, DIM, BLOCK = 2048, 128, 64


class Run:
    """Rows under way, and the time that is left for them."""

    def __init__(self, report: Report, seconds: float) -> None:
        self.report, self.end = report, time.monotonic() + seconds
        self.compiled: list[str] = []
        self.right: list[str] = []
        self.bandwidth = 0.0

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.end - time.monotonic()


@contextmanager
def variant(name: str) -> Iterator[None]:
    """Print what goes wrong in one variant, and let the others go on."""
    try:
        yield
    except Exception:  # noqa: BLE001  # whatever it is, the rows of the others are worth having
        say(f"{name}: failed\n{traceback.format_exc()}")


def median(times: list[float]) -> float:
    """Return the median, rounded, as a number for a file."""
    return round(statistics.median(times), 5)


def ceilings(run: Run) -> None:
    """Report what the device can do."""
    run.bandwidth = copy_bandwidth()
    run.report.row("copy_bandwidth", run.bandwidth / 1e12, "TB/s read and written", {})
    run.report.row("fp8_rate", fp8_rate() / 1e12, "TFLOPS", {})


def compile_all(run: Run) -> None:
    """Compile all variants, many at once."""
    with ProcessPoolExecutor(len(topk.VARIANTS), multiprocessing.get_context("spawn")) as pool:
        tasks = {name: pool.submit(topk.compiled, name) for name in topk.VARIANTS}
        for name, task in tasks.items():
            with variant(name):
                run.compiled.append(task.result())
                say(f"compiled: {name}")


def exact(run: Run) -> None:
    """Report errors of each variant: one that chooses wrongly can't be the best."""
    found: dict[str, dict[str, int]] = {}
    for name in run.compiled:
        with variant(name):
            found[name] = topk.unlike(name)
            say(
                f"{name}: {sum(found[name].values())} errors "
                f"{found[name] if any(found[name].values()) else ''}"
            )
    run.right = [name for name, errors in found.items() if not any(errors.values())]
    best = min(found, key=lambda name: sum(found[name].values()))
    run.report.row("topk_set_errors", sum(found[best].values()), "members", found)


def speedup(label: str) -> Callable[[Run], None]:
    """Return what reports the row of a length."""

    def measure(run: Run) -> None:
        c = topk.prompt(topk.LENGTHS[label])
        works: dict[str, Work] = {name: partial(topk.ours, c, name) for name in run.compiled}
        with variant("vLLM"):
            topk.vllm(c, DEFAULT)
            works = {
                "vllm": lambda: topk.vllm(c, DEFAULT),
                "vllm, 4096 MB": lambda: topk.vllm(c, WIDE),
                **works,
            }
            works["vllm's logits alone"] = lambda: [topk.logits(part) for part in topk.chunks(c, WIDE)]
        times = in_turns(works, ROUNDS)
        medians = {name: median(found) for name, found in times.items()}
        pairs = float(topk.ROWS) * (topk.LENGTHS[label] - topk.ROWS / 2)
        tflops = {name: round(pairs * 2 * topk.HEADS * topk.DIM / t / 1e9, 1) for name, t in medians.items()}
        for name, t in medians.items():
            say(f"{label} {name:64} {t:9.3f} ms {tflops[name]:7.1f} TFLOPS")
        best = min(run.right, key=lambda name: medians[name])
        samples = {
            "ms": {name: [round(t, 4) for t in found] for name, found in times.items()},
            "tflops": tflops,
            "best": best,
        }
        run.report.row(f"topk_ms_{label}", medians[best], f"ms, {topk.ROWS} rows", samples)
        if "vllm" in medians:
            wide = medians["vllm, 4096 MB"] / medians[best]
            run.report.row(
                f"topk_speedup_{label}",
                medians["vllm"] / medians[best],
                "times",
                medians,
                over_4096_mb=round(wide, 5),
            )
            if label == "200k":
                beside(run, c, best)

    return measure


def beside(run: Run, c: Case, best: str) -> None:
    """Report memory and members beside vLLM's."""
    peaks = {}
    for name, work in {"ours": lambda: topk.ours(c, best), "vllm": lambda: topk.vllm(c, DEFAULT)}.items():
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        peaks[name] = torch.cuda.max_memory_allocated() - before
    run.report.row("topk_memory_ratio", peaks["ours"] / peaks["vllm"], "ratio", {"bytes": peaks})
    found = topk.against_logits(c, best)
    run.report.row("topk_below_vllm", found["below"] + found["missing"], "members", found)


def decode(rows: int) -> Callable[[Run], None]:
    """Return what reports rows that are decoded, so many at once."""

    def measure(run: Run) -> None:
        c = topk_decode.Decode(rows)
        wrong = c.below()
        works: dict[str, Work] = {"ours": c.ours, "vllm": c.vllm, "vllm's logits alone": c.logits}
        times = {name: replays([work] * 8) for name, work in works.items()}
        for name, found in times.items():
            say(f"decode {rows} {name:24} {1000 * median(found):9.2f} us")
        moved = rows * topk_decode.LENGTH * (topk_decode.DIM + 4)
        samples = {"ms": times, "limit_ms": moved / run.bandwidth * 1000, "bytes": moved}
        value = median(times["vllm"]) / median(times["ours"])
        run.report.row(f"topk_decode_speedup_{rows}", value, f"times, {rows} rows", samples)
        run.report.row(f"topk_decode_below_{rows}", wrong, "members", [])

    return measure


def overlap(run: Run) -> None:
    """Report reuse_overlap."""

    def positions() -> torch.Tensor:
        return torch.rand(OVERLAP_ROWS, CONTEXT, device="cuda").topk(K, dim=1).indices.int()

    sets = [(positions(), positions(), torch.randn(OVERLAP_ROWS, K, device="cuda")) for _ in range(SETS)]
    works: list[Work] = [partial(reuse_overlap, *s) for s in sets]
    cold, warm = replays(works), replays(works[:1] * SETS)
    reference = events(lambda: reuse_overlap_naive(*sets[0]), 10)
    moved = OVERLAP_ROWS * (3 * K * 4 + 2 * 4)
    limit = moved / run.bandwidth * 1000
    samples = {
        "ms": cold,
        "ms of one input again and again": warm,
        "ms of the reference": reference,
        "limit_ms": limit,
        "bytes": moved,
    }
    run.report.row("overlap_over_limit", median(cold) / limit, "ratio", samples)
    run.report.row(
        "overlap_speedup",
        median(reference) / median(cold),
        "times",
        {"cold_ms": median(cold), "reference_ms": median(reference)},
    )
    few = [tuple(x[:MEASURED_ROWS].contiguous() for x in s) for s in sets]
    ours, triton = (
        median(replays([partial(form, *s) for s in few])) for form in (reuse_overlap, reuse_overlap_triton)
    )
    run.report.row("overlap_32_rows_ms", ours, f"ms, {MEASURED_ROWS} rows", {"the Triton form's ms": triton})


def keys(layers: int, tokens: int) -> Callable[[Run], None]:
    """Return what reports the row of index_keys."""

    def work_of(c: KeysCase) -> tuple[Work, object]:
        table = table_of(c.indexers)
        calls = torch.tensor(calls_of(range(layers), c.hidden, c.slots), device="cuda")
        return lambda: index_keys_triton(table, calls, c.indexers[0], c.positions, c.rope), c

    def measure(run: Run) -> None:
        cases = [
            keys_case(tokens, layers=layers, hidden=HIDDEN, dim=DIM, seed=n).to("cuda") for n in range(SETS)
        ]
        cases = [c._replace(indexers=[trimmed(x) for x in c.indexers]) for c in cases]
        works = [work_of(c)[0] for c in cases]
        cold, warm = replays(list(islice(cycle(works), 3 * SETS))), replays(works[:1] * 3 * SETS)
        moved = layers * (DIM * HIDDEN * 2 + tokens * (HIDDEN * 2 + DIM + 4))
        limit = moved / run.bandwidth * 1000
        samples = {"ms": cold, "ms of one input again and again": warm, "limit_ms": limit, "bytes": moved}
        run.report.row(
            f"keys_{layers}_layers_{tokens}_tokens_over_limit", median(cold) / limit, "ratio", samples
        )

    return measure


def trimmed(x: Indexer) -> Indexer:
    """Return the indexer with no more rows of the weight than the key's."""
    return x._replace(weight=x.weight[:DIM].contiguous())


STAGES: dict[str, tuple[float, Callable[[Run], None]]] = {
    "compile": (0, compile_all),
    "ceilings": (5, ceilings),
    "exact": (10, exact),
    **{f"decode {rows}": (10, decode(rows)) for rows in (1, 32)},
    "topk 200k": (20, speedup("200k")),
    "topk 60k": (10, speedup("60k")),
    "topk 120k": (15, speedup("120k")),
    "topk 16k": (8, speedup("16k")),
    "overlap": (10, overlap),
    **{
        f"keys {layers} {tokens}": (8, keys(layers, tokens)) for layers in (16, 34) for tokens in (1, 64, 256)
    },
}
"""In order of worth; and the seconds that must be left to begin."""


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/kernels.json"))
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--commit", default="", help="of the code that runs, where no git tells")
    arguments = parser.parse_args()
    report = Report(arguments.out, "python -m benchmarks.kernels", arguments.commit)
    import triton

    versions = {"torch": torch.__version__, "triton": triton.__version__, "cuda": str(torch.version.cuda)}
    report.begin(torch.cuda.get_device_name(), versions)
    run = Run(report, arguments.seconds)
    for name, (needed, stage) in STAGES.items():
        if run.left() < needed:
            say(f"{name}: left out, {run.left():.0f} s are left and {needed:.0f} are needed")
            continue
        with variant(name):
            stage(run)
        torch.cuda.empty_cache()
        say(f"{name}: done, {run.left():.0f} s left")
    for row in report.data["rows"]:
        print(f"{row['name']:44} {row['value']:10.4f} {row['unit']}")


if __name__ == "__main__":
    main()

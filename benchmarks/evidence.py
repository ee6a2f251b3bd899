"""Measures how often the evidence errs, and how soon it tells: streams of requests, thousands at once.

    python -m benchmarks.evidence [--runs 1000] [--seed 1] [--only healthy,bad,found]
        [--out benchmarks/results/evidence.json]

What is simulated is what engines book: of each request one observation of prefill and one of decode, of the
mean over the indexers and of each indexer. The bets are those of indexcache_core/evidence, played for all
runs at once (evidence_bets.py); a test holds them to the same numbers.

* `healthy`: nothing is under its threshold, some means exactly at it; how often it is stopped all the same.
* `bad`: every mean is .02 under its threshold; how often a certificate is given.
* `found`: recall falls at one moment; how many requests it takes until that is a breach.

Requests differ between each other (standard deviation .10), rows within a request as well; clusters are
requests that agree fully, as the turns of one conversation might. A share is judged by its exact interval of
95 %: an aim is missed if all of the interval is beyond it.
"""

import argparse
import math
import platform
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from indexcache_core.contexts import JUDGED
from indexcache_core.contract import DECODED_TOKENS, Work
from indexcache_core.evidence.guardrails import MEASURED, operators_alpha, tests_alpha
from indexcache_core.evidence.verdict import log_limit

from benchmarks.evidence_bets import Certificates, Detectors, exact_interval
from benchmarks.report import Report

RESULT = Path(__file__).with_name("results") / "evidence.json"
ALPHA, BETA = 0.01, 0.05
"""Of a rollout: the defaults of spec.confidence."""
SITES = 8
REQUESTS = 2000
BETWEEN, WITHIN = 0.10, 0.10
"""Standard deviations: of requests, and of the rows of one."""
STEPS, AT_ONCE, CLUSTERS = (1, 80, 400), (1, 8, 64), (1, 5, 50)
THRESHOLD = 0.36

Array = np.ndarray[Any, np.dtype[np.float64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


def requests(rng: np.random.Generator, runs: int, n: int, mean: float, steps: int, cluster: int) -> Array:
    """Return observations of one kind of work: (runs, n, 1 + SITES), the mean over the indexers first.

    A cluster of requests has one mean; an indexer differs from it as much as requests do from each other.
    """
    groups = -(-n // cluster)
    level = np.repeat(rng.normal(0.0, BETWEEN, (runs, groups, 1)), cluster, axis=1)[:, :n]
    apart = np.repeat(rng.normal(0.0, BETWEEN / 2, (runs, groups, SITES)), cluster, axis=1)[:, :n]
    noise = rng.normal(0.0, WITHIN / math.sqrt(min(steps, DECODED_TOKENS)), (runs, n, SITES))
    sites = mean + level + apart + noise
    with_mean: Array = np.concatenate([sites.mean(axis=2, keepdims=True), sites], axis=2)
    return with_mean.clip(0.0, 1.0)


def stopped(rng: np.random.Generator, runs: int, mean: float, cell: tuple[int, int, int]) -> Flags:
    """Return for each run whether a healthy pattern was ever stopped: by a test on the mean or on an indexer,
    of prefill or of decode.
    """
    steps, at_once, cluster = cell
    alpha = operators_alpha(ALPHA, engines_judge=True)
    out: Flags = np.zeros(runs, dtype=np.bool_)
    for work in Work:
        values = requests(rng, runs, REQUESTS, mean, steps if work is Work.DECODE else 1, cluster)
        for name, columns in (("recall", slice(0, 1)), ("recall_per_indexer", slice(1, None))):
            tests = len(MEASURED[name].tests(tuple(range(SITES))))  # type: ignore[index]  # both are names
            found = Detectors(values[:, :, columns], THRESHOLD).play(
                log_limit(tests_alpha(alpha, 2, tests)), at_once
            )
            out |= (found >= 0).any(axis=1)
    return out


def certified(rng: np.random.Generator, runs: int, mean: float, cell: tuple[int, int, int]) -> Flags:
    """Return for each run whether a bad pattern was ever certified: its mean, of prefill and of decode."""
    steps, at_once, cluster = cell
    given = []
    for work in Work:
        values = requests(rng, runs, REQUESTS, mean, steps if work is Work.DECODE else 1, cluster)
        wealth = Certificates(values[:, :, :1], THRESHOLD).play(at_once)[:, :, 0]
        given.append(wealth >= math.log(len(JUDGED) / BETA))
    # The looks at which both held at once: a certificate that is lost again counts no more.
    both: Flags = np.asarray(np.any(given[0] & given[1], axis=1), dtype=np.bool_)
    return both


def until_found(
    rng: np.random.Generator, runs: int, means: tuple[float, float], threshold: float, good: int
) -> float:
    """Return the median number of requests from a fall of the mean to a breach, after so many good ones."""
    alpha = tests_alpha(operators_alpha(ALPHA, engines_judge=True), 1, len(JUDGED) * len(Work))
    spread = 0.04 if threshold > 0.8 else BETWEEN
    before = np.clip(rng.normal(means[0], spread, (runs, good, 1)), 0.0, 1.0)
    after = np.clip(rng.normal(means[1], spread, (runs, 400, 1)), 0.0, 1.0)
    detectors = Detectors(np.concatenate([before, after], axis=1), threshold)
    found = detectors.play(log_limit(alpha), 1)[:, 0]
    taken = np.where(found < 0, np.inf, found - good + 1)
    return float(np.median(taken[taken > 0]))


def least(means: tuple[float, float], threshold: float) -> float:
    """Return how many requests any test needs that is never wrong with more than this part of alpha: log(1 /
    alpha) over the most that one observation can tell, log((1 - mean) / (1 - threshold)) if all of them are
    equal.
    """
    alpha = tests_alpha(operators_alpha(ALPHA, engines_judge=True), 1, len(JUDGED) * len(Work))
    return math.ceil(log_limit(alpha) / math.log((1.0 - means[1]) / (1.0 - threshold)))


Row = tuple[str, float, str, dict[str, Any]]


def _shares(
    kind: str, means: dict[str, float], draw: Callable[..., Flags], aim: float, runs: int, seed: int
) -> Iterator[Row]:
    """Yield a row for each cell of the grid."""
    for (place, mean), *cell in product(means.items(), STEPS, AT_ONCE, CLUSTERS):
        steps, at_once, cluster = cell
        rng = np.random.default_rng([seed, round(mean * 1000), steps, at_once, cluster])
        errors = int(draw(rng, runs, mean, tuple(cell)).sum())
        low, high = exact_interval(errors, runs)
        name = f"{kind}_{place}_steps{steps}_at{at_once}_cluster{cluster}"
        more = {"aim": aim, "op": "<=", "runs": runs, "interval": [low, high], "met": low <= aim}
        yield name, errors / runs, f"of runs of {REQUESTS} requests", more


def _found(runs: int, seed: int) -> Iterator[Row]:
    """Yield a row for each fall and each length of the good time before it, and the bound beside it."""
    falls = {
        "fall95to80": ((0.95, 0.80), 0.90, {0: 16, 400: 32, 20_000: 64}),
        "fall60to20": ((0.60, 0.20), 0.36, {0: 40, 400: 60, 20_000: 80}),
    }
    for name, (means, threshold, aims) in falls.items():
        for good, aim in aims.items():
            rng = np.random.default_rng([seed, good, round(1000 * threshold)])
            value = until_found(rng, min(runs, 200), means, threshold, good)
            bound = least(means, threshold)
            more = {"aim": aim, "op": "<=", "runs": min(runs, 200), "met": value <= aim, "bound": bound}
            yield f"found_{name}_after{good}", value, "requests, median", more


def rows(kind: str, runs: int, seed: int) -> Iterator[Row]:
    """Yield the rows of one kind."""
    at_edge = {"at_min": THRESHOLD, "05_over": THRESHOLD + 0.05, "10_over": THRESHOLD + 0.10}
    if kind == "healthy":
        return _shares(kind, at_edge, stopped, ALPHA, runs, seed)
    if kind == "bad":
        return _shares(kind, {"02_under": THRESHOLD - 0.02}, certified, BETA, runs, seed)
    return _found(runs, seed)


def main() -> None:
    """Run what is asked for, and write each row as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="healthy,bad,found")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    report = Report(args.out, f"python -m benchmarks.evidence --runs {args.runs} --seed {args.seed}")
    report.begin("any", {"python": platform.python_version(), "numpy": np.__version__})
    for kind in args.only.split(","):
        for name, value, unit, more in rows(kind, args.runs, args.seed):
            report.row(name, value, unit, None, **more)


if __name__ == "__main__":
    main()

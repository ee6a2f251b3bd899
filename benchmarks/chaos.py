"""Plays thousands of rollouts among faults, deaths of the operator and rivals of it, and counts what went
wrong.

    python -m benchmarks.chaos [--parts api_faults watches deaths two_operators leaders] [--seeds 40]
        [--processes 2] [--out benchmarks/results/chaos.json]

The operator is the real one but for its clock, on an API server and engines in memory: the long form of what
the unit tests play. A run in which something happens that never may, or that ends elsewhere than it should,
is printed with its case, and the exit code is 1.
"""

import argparse
import logging
import multiprocessing
import platform
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from indexcache_operator.act import perform
from indexcache_operator.informers import informer
from indexcache_operator.observe import look

from benchmarks import chaos_runs
from benchmarks.chaos_runs import Outcome
from benchmarks.report import Report, say
from tests.unit.operator.faults.dying import DyingEngines
from tests.unit.operator.faults.simulated import SimulatedEngines

RESULT = Path(__file__).with_name("results") / "chaos.json"
EVERY = 100


def prepare(part: str) -> None:
    """Put stand-ins for engines into this process, and let nothing wait by the clock."""
    logging.disable(logging.CRITICAL)
    engines = DyingEngines if part == "deaths" else SimulatedEngines
    for module in (look, perform):
        setattr(module, "Engines", engines)  # noqa: B010 (one kind of them for another)
    setattr(informer, "RETRY_SECONDS", (0.0,))  # noqa: B010 (fewer of them)


def summed(part: str, outcomes: Iterable[Outcome]) -> tuple[Counter[str], Counter[str]]:
    """Return what happened in all runs: counts, and faults by kind. Whatever went wrong is printed."""
    counts, faults, sites = Counter[str](), Counter[str](), set[str]()
    for number, outcome in enumerate(outcomes, 1):
        counts += outcome.counts
        faults += outcome.faults
        sites |= outcome.sites
        counts["violations"] += bool(outcome.violation)
        counts["wrong_ends"] += bool(outcome.wrong_end)
        if outcome.violation or outcome.wrong_end:
            say(f"{outcome.case}: {outcome.violation or 'wrong end: ' + outcome.wrong_end}")
        if number % EVERY == 0:
            say(f"{part}: {number} runs, {faults.total()} faults")
    counts["sites"] = len(sites)
    return counts, faults


def wrong(counts: Counter[str]) -> int:
    """Return in how many runs something went wrong."""
    return counts["violations"] + counts["wrong_ends"]


def play(part: str, seeds: int, processes: int, report: Report) -> int:
    """Play a part, and report it. Return in how many runs something went wrong."""
    prepare(part)
    with multiprocessing.Pool(processes, prepare, (part,)) as pool:
        cases = list(chaos_runs.cases(part, seeds))
        counts, faults = summed(part, pool.imap_unordered(chaos_runs.run, cases))
    report.row(
        part, wrong(counts), f"runs gone wrong, of {counts['runs']}", {**dict(counts), "faults": dict(faults)}
    )
    return wrong(counts)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=chaos_runs.PARTS, default=list(chaos_runs.PARTS))
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    report = Report(args.out, "python -m benchmarks.chaos")
    report.begin(platform.machine(), {"python": platform.python_version()})
    gone_wrong = sum(play(part, args.seeds, args.processes, report) for part in args.parts)
    sys.exit(1 if gone_wrong else 0)


if __name__ == "__main__":
    main()

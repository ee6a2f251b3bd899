"""`make test`: every stage, whatever becomes of the others, and a table at the end.

    python -m indexcache_testbed.stages        in the checkout

A stage is a target of the Makefile. One whose prerequisite failed is not run, and fails with a line that
says so. Nothing but Python's own library is used, as the environment is a stage, too.
"""

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

TAIL = 4000
"""Bytes kept of what a stage writes: its message if it fails."""
MESSAGE_LINES = 6
OF_MAKE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")


@dataclass(frozen=True)
class Stage:
    """A target, and what must have gone well before."""

    target: str
    needs: tuple[str, ...] = ()
    tests: bool = False
    """Whether it runs pytest."""


STAGES = (
    Stage("env"),
    Stage("lint", ("env",)),
    Stage("unit", ("env",), tests=True),
    Stage("engine", ("env",), tests=True),
    Stage("build", ("env",)),
    Stage("up", ("build",)),
    Stage("cluster", ("up",), tests=True),
    Stage("product", ("up",)),
    Stage("e2e", ("product",), tests=True),
)


@dataclass(frozen=True)
class Result:
    """Says what became of a stage."""

    target: str
    passed: int
    failed: int
    seconds: float
    message: str = ""
    """Why it failed, where no test tells."""


def play(stages: Sequence[Stage], run: Callable[[Stage], Result]) -> list[Result]:
    """Run stages in order, all but those whose prerequisites failed.

    Args:
        stages: each after those that it needs.
        run: runs one; its result.
    """
    results: dict[str, Result] = {}
    for stage in stages:
        missing = [name for name in stage.needs if results[name].failed]
        not_run = Result(stage.target, 0, 1, 0.0, f"not run, as {', '.join(missing)} failed")
        results[stage.target] = not_run if missing else run(stage)
    return list(results.values())


def counted(stage: Stage, status: int, seconds: float, report: str | None, tail: str) -> Result:
    """Return the result of a stage that ran.

    Args:
        stage: the stage.
        status: its exit status.
        seconds: how long it took.
        report: the text of pytest's JUnit report; None if there is none.
        tail: the end of what it wrote.
    """
    said = "\n".join(tail.strip().splitlines()[-MESSAGE_LINES:])
    if report is None:
        failed = int(status != 0 or stage.tests)
        return Result(stage.target, int(not failed), failed, seconds, said if failed else "")
    suites = list(ElementTree.fromstring(report).iter("testsuite"))
    names = ("tests", "skipped", "failures", "errors")
    total, skipped, failures, errors = (sum(int(suite.get(name, 0)) for suite in suites) for name in names)
    bad = failures + errors
    # A run that ends with an error though no test failed (it found none, or was cut short) has failed, too.
    failed = bad or int(status != 0)
    return Result(stage.target, total - skipped - bad, failed, seconds, said if failed and not bad else "")


def table(results: Sequence[Result]) -> str:
    """Return the table, and under it why stages failed of which no test tells."""
    rows = [f"{'stage':<8} {'passed':>7} {'failed':>7} {'seconds':>8}"]
    rows += [f"{r.target:<8} {r.passed:>7} {r.failed:>7} {r.seconds:>8.0f}" for r in results]
    rows += [f"\n{r.target}: {r.message}" for r in results if r.message]
    return "\n".join(rows)


def run(stage: Stage) -> Result:
    """Run a stage's target, showing what it writes."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        # A make of its own: it takes nothing from the one that runs this.
        environment = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
        if stage.tests:
            environment["PYTEST_ADDOPTS"] = f"{environment.get('PYTEST_ADDOPTS', '')} --junitxml={report}"
        if sys.stdout.isatty():
            environment["FORCE_COLOR"] = "1"
        print(f"==== {stage.target}", flush=True)
        begun = time.monotonic()
        status, tail = _shown(["make", "--no-print-directory", stage.target], environment)
        text = report.read_text() if report.exists() else None
        return counted(stage, status, time.monotonic() - begun, text, tail)


def _shown(command: Sequence[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run a command and pass on what it writes as it comes; its status and the end of what it wrote."""
    tail = b""
    pipe, both = subprocess.PIPE, subprocess.STDOUT
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=both) as process:
        assert process.stdout is not None
        while chunk := os.read(process.stdout.fileno(), 65536):
            os.write(1, chunk)
            tail = (tail + chunk)[-TAIL:]
    return process.returncode, tail.decode(errors="replace")


def main() -> int:
    """Run all stages; 1 if one failed."""
    results = play(STAGES, run)
    print(f"\n{table(results)}", flush=True)
    return int(any(result.failed for result in results))


if __name__ == "__main__":
    sys.exit(main())

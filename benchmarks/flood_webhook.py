"""Measures whether a kill is obeyed while strangers flood the operator's webhook: the operator on one core,
they on another.

    python -m benchmarks.flood_webhook [--kinds "endless header" ...] [--kills 2] [--cores 0 1]
        [--out benchmarks/results/flood_webhook.json]

The operator is a process of its own on a real API server, beside a few promoted rollouts whose engines are
stand-ins (benchmarks/scale.py). For each kind of flood (benchmarks/flood_strangers.py) some rollouts are
killed by their annotation, timed from the request that writes it to the last engine's kill; the operator's
memory is watched, and its liveness asked for. It needs no root, but the testbed's binaries (`make build`).
"""

import argparse
import asyncio
import os
import platform
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from benchmarks import scale
from benchmarks.flood import Memory, flooding
from benchmarks.flood_strangers import KINDS
from benchmarks.report import Report, say

RESULT = Path(__file__).with_name("results") / "flood_webhook.json"
ENGINES = 3


async def alive(url: str) -> float:
    """Return after how many seconds the operator says that it lives."""
    began = time.monotonic()
    limit = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=limit) as session, session.get(f"{url}/healthz") as answer:
        answer.raise_for_status()
    return time.monotonic() - began


async def measure(args: argparse.Namespace, folder: Path, report: Report) -> None:
    """Take all figures."""
    rollouts = len(args.kinds) * args.kills
    async with scale.world(folder, rollouts, ENGINES) as run, scale.operating(run) as watched:
        os.sched_setaffinity(watched.pid, {args.cores[1]})
        await run.at_rest(watched, time.monotonic(), quiet=20.0)
        port, memory, left = urlsplit(run.url).port, Memory(watched.pid), iter(run.made)
        assert port is not None
        for kind in args.kinds:
            before = memory.begin()
            with flooding(kind, port, args.cores[0]):
                kills = [await run.kill(next(left)) for _ in range(args.kills)]
                lives = await alive(run.url)
            more = memory.most - before
            report.row(f"kill, {kind}", max(kills), "s, at most", [round(each, 3) for each in kills])
            report.row(f"alive, {kind}", lives, "s", [])
            report.row(f"memory, {kind}", more, "MiB more, at most", [before, memory.most])
        say(f"the operator took {watched.seconds():.0f} s of processor time")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flood_webhook")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--cores", type=int, nargs=2, default=(0, 1), help="the strangers', the operator's")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    report = Report(args.out, "python -m benchmarks.flood_webhook")
    report.begin(
        f"{os.cpu_count()} cores",
        {"python": platform.python_version(), "aiohttp": aiohttp.__version__},
    )
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(args, Path(folder), report))


if __name__ == "__main__":
    main()

"""Measures the operator at size: its own process on a real API server, beside promoted rollouts at rest and
stand-ins for their engines.

    python -m benchmarks.scale [--rollouts 1000] [--engines 3] [--seconds 600] [--kills 10]
        [--per-minute 0] [--out benchmarks/results/scale.json] [--keep FOLDER]

It needs no root and no cluster: etcd and kube-apiserver are the testbed's (`make build`), each on free ports
of the loopback. Rollouts begin as promoted; the operator applies their Deployments and Services, and turns
their engines on. Once it writes nothing more, it is watched for so many seconds. Then some rollouts are
killed by their annotation, one after another. What it asks of the API server is read from the audit log.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from indexcache_operator import names
from indexcache_operator.kube import Kube
from indexcache_operator.plan.facts.revision import KILL
from indexcache_operator.plan.report.publishing import EVERY_WHEN_PROMOTED

from benchmarks import scale_process
from benchmarks.report import Report, say
from benchmarks.scale_process import Watched
from benchmarks.scale_world import Made, make
from scripts.generate.crd import CRD_FILE
from tests.cluster import apiserver
from tests.cluster.conftest import established, httproute_crd

RESULT = Path(__file__).with_name("results") / "scale.json"
OPERATOR = "operator-a"
"""The user that the operator is to the API server."""
QUIET_SECONDS, STARTING_SECONDS = EVERY_WHEN_PROMOTED.total_seconds() + 30.0, 2400.0
"""Without a write for so long the operator counts as at rest: figures of what came last are written within
that. So long it may take until then."""
EVERY_SECONDS = 10.0
KILL_SECONDS = 30.0
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""What the chart sets for glibc."""


@asynccontextmanager
async def process(log: Path, *words: str, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a Python module as a process of its own, ended on the way out."""
    with log.open("ab") as out:
        started = await asyncio.create_subprocess_exec(
            sys.executable, *words, env={**os.environ, **env}, stdout=out, stderr=out
        )
        try:
            yield started
        finally:
            if started.returncode is None:
                started.terminate()
                try:
                    await asyncio.wait_for(started.wait(), 30)
                except TimeoutError:
                    started.kill()
            await started.wait()


def environment(server: apiserver.ApiServer, folder: Path, port: int) -> dict[str, str]:
    """Return the operator's environment, as the chart sets it but with the control key of the tests."""
    keys = folder / "control-keys"
    keys.mkdir()
    (keys / "1").write_text("k" * 32)
    return {
        **MALLOC,
        "KUBECONFIG": str(server.kubeconfig_of(OPERATOR)),
        "INDEXCACHE_RUNTIME_IMAGE": "runtime:1",
        "INDEXCACHE_CONTROL_KEYS": str(keys),
        "INDEXCACHE_WEBHOOK_PORT": str(port),
    }


class Run:
    """Holds one run: the operator that is watched, and what is around it."""

    def __init__(self, folder: Path, server: apiserver.ApiServer, kube: Kube, made: list[Made]) -> None:
        """Hold what is there."""
        self.folder, self.server, self.kube, self.made = folder, server, kube, made
        self.url = ""

    def asked(self, since: datetime) -> Any:
        """Return what the operator asked of the API server since then, by verb."""
        return scale_process.asked(self.server.audit, since, datetime.now(UTC))

    async def shown(self) -> dict[str, float]:
        """Return the operator's own counters: looks by outcome."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/metrics") as answer:
            text = await answer.text()
        found = re.findall(r"^(indexcache_operator_looks_total\{[^}]*\}) (\S+)$", text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    def answered(self) -> dict[str, int]:
        """Return what the engines have answered so far, by method and status."""
        try:
            found: dict[str, int] = json.loads((self.folder / "counts.json").read_text())
        except (OSError, ValueError):
            return {}
        return found

    async def at_rest(self, watched: Watched, began: float, quiet: float = QUIET_SECONDS) -> float:
        """Wait until all engines are on and the operator has written nothing for so many seconds. Return
        after how long that was."""
        engines = sum(len(each.addresses) for each in self.made)
        quiet_since, last = time.monotonic(), -1
        start = datetime.now(UTC)
        while time.monotonic() - began < STARTING_SECONDS:
            await asyncio.sleep(5.0)
            wrote, put = scale_process.writes(self.asked(start)), self.answered().get("PUT 200", 0)
            say(
                f"starting: {wrote} writes, {put} of {engines} engines told, {watched.resident():.0f} MiB, "
                f"{watched.seconds():.0f} s of processor time"
            )
            if wrote != last or put < engines:
                quiet_since, last = time.monotonic(), wrote
            elif time.monotonic() - quiet_since >= quiet:
                return quiet_since - began
        raise SystemExit(f"scale: not at rest after {STARTING_SECONDS:g} s; see {self.folder}/operator.log")

    async def kill(self, rollout: Made) -> float:
        """Stop a rollout by its annotation. Return after how many seconds its last engine was off."""
        path = names.rollouts_path(rollout.namespace, rollout.name)
        began = time.monotonic()
        await self.kube.patch(path, {"metadata": {"annotations": {KILL: "true"}}})
        while time.monotonic() - began < KILL_SECONDS:
            await asyncio.sleep(0.02)
            lines = [line.split() for line in (self.folder / "kills").read_text().splitlines()]
            first: dict[str, float] = {}
            for address, at in lines:
                if address in rollout.addresses:
                    first.setdefault(address, float(at))
            if len(first) == len(rollout.addresses):
                return max(first.values()) - began
        raise SystemExit(f"scale: {rollout.name} was not killed within {KILL_SECONDS:g} s")


@asynccontextmanager
async def world(folder: Path, rollouts: int, engines: int, per_minute: float = 0.0) -> AsyncIterator[Run]:
    """Set up an API server with so many promoted rollouts, and stand-ins for so many engines of each."""
    bin_dir = apiserver.binaries()
    if bin_dir is None:
        raise SystemExit(
            "scale: etcd and kube-apiserver: not found in the cache; build them with `make build`"
        )
    with apiserver.running(folder, bin_dir, audited=True, policy=scale_process.AUDITED) as server:
        async with apiserver.client(server.kubeconfig) as client:
            kube = Kube(client)
            for crd in (yaml.safe_load(CRD_FILE.read_text()), httproute_crd()):
                await established(kube, crd)
            made = await make(kube, rollouts, engines)
            listed = [engine for each in made for engine in each.engines]
            (folder / "engines.json").write_text(json.dumps(listed))
            words = ["-m", "benchmarks.scale_engines", str(folder), f"--per-minute={per_minute}"]
            async with process(folder / "engines.log", *words):
                async with asyncio.timeout(120):
                    while not (folder / "ready").exists():  # noqa: ASYNC110 (a file of another process)
                        await asyncio.sleep(0.1)
                yield Run(folder, server, kube, made)


@asynccontextmanager
async def operating(run: Run, profile: str | None = None) -> AsyncIterator[Watched]:
    """Run the operator there, in a process of its own that is watched. profile: a file for cProfile."""
    port = apiserver._free_ports(1)[0]
    run.url = f"http://127.0.0.1:{port}"
    profiled = ["-m", "cProfile", "-o", profile] if profile else []
    env = environment(run.server, run.folder, port)
    words = [*profiled, "-m", "indexcache_operator"]
    async with process(run.folder / "operator.log", *words, **env) as operator:
        yield Watched(operator.pid)


async def measure(args: argparse.Namespace, folder: Path, report: Report) -> None:
    """Take all figures."""
    report.begin(
        f"{os.cpu_count()} cores, shared with the API server and the stand-ins",
        {"python": platform.python_version(), "aiohttp": aiohttp.__version__},
    )
    async with world(folder, args.rollouts, args.engines, args.per_minute) as run:
        began = time.monotonic()
        async with operating(run, args.profile) as watched:
            await _watch(args, run, watched, began, report)


async def _watch(args: argparse.Namespace, run: Run, watched: Watched, began: float, report: Report) -> None:
    settled = await run.at_rest(watched, began)
    size = f"{args.rollouts} rollouts, {args.engines} engines each"
    if args.per_minute:
        size += f", {args.per_minute:g} requests a minute and engine"
    report.row("settled_s", settled, f"s, {size}", [])
    since, looks, answered = datetime.now(UTC), await run.shown(), run.answered()
    cores = await watched.watch(args.seconds, EVERY_SECONDS, _told)
    asked, lasted = run.asked(since), (datetime.now(UTC) - since).total_seconds()
    looked = sum((await run.shown()).values()) - sum(looks.values())
    calls = {key: count - answered.get(key, 0) for key, count in run.answered().items()}
    report.row("rss_mib", max(watched.megabytes), f"MiB, {size}", watched.megabytes)
    report.row("cores", cores, f"cores, {size}", [round(each, 3) for each in watched.cores])
    report.row("api_writes", scale_process.writes(asked), f"in {lasted:.0f} s, {size}", dict(asked))
    report.row("api_reads", scale_process.reads(asked) / lasted, f"a second, {size}", dict(asked))
    report.row("looks", looked / lasted, f"a second, {size}", [])
    report.row("engine_calls", sum(calls.values()) / lasted, f"a second, {size}", calls)
    step = max(len(run.made) // max(args.kills, 1), 1)
    killed = [await run.kill(run.made[i * step]) for i in range(min(args.kills, len(run.made)))]
    if killed:
        report.row(
            "kill_s", max(killed), f"s, {size}", [round(each, 4) for each in killed],
            median=round(statistics.median(killed), 4),
        )  # fmt: skip


def _told(watched: Watched) -> None:
    say(f"watched: {watched.megabytes[-1]:.0f} MiB, {watched.cores[-1]:.3f} cores")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rollouts", type=int, default=1000)
    parser.add_argument("--engines", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--per-minute", type=float, default=0.0, help="requests a minute that an engine gets")
    parser.add_argument("--kind", default="", help="what the rows' names end with")
    parser.add_argument("--profile", help="a file: the operator runs under cProfile")
    parser.add_argument("--keep", type=Path, help="a folder that is kept, with all logs")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # in either case nothing is left behind
        signal.signal(number, signal.default_int_handler)
    report = Report(args.out, "python -m benchmarks.scale " + " ".join(sys.argv[1:]), kind=args.kind)
    if args.keep:
        args.keep.mkdir(parents=True)
        asyncio.run(measure(args, args.keep, report))
        return
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(args, Path(folder), report))


if __name__ == "__main__":
    main()

"""Puts odd specs and odd templates before a real API server and the operator's code, and counts how they end.

    python -m benchmarks.odd_input [--specs 10000] [--templates 1000] [--seed 1]
        [--out benchmarks/results/odd_input.json]

It needs no root and no cluster: etcd and kube-apiserver are the testbed's (`make build`), on free ports of
the loopback, and nothing is stored. Input that ends in an exception, or is refused without the name of what
is wrong with it, is printed and counted as a failure.
"""

import argparse
import asyncio
import platform
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from indexcache_operator.kube import Kube

from benchmarks.report import Report, say
from scripts.generate.crd import CRD_FILE
from tests.cluster import apiserver, odd
from tests.cluster.conftest import established
from tests.cluster.odd import Verdict
from tests.unit.operator.mutated import mutants

RESULT = Path(__file__).with_name("results") / "odd_input.json"
FAILED = "failed"
EVERY = 500


async def tried(
    what: str, given: Iterable[Any], verdict: Callable[[Any], Awaitable[Verdict]]
) -> Counter[str]:
    """Return how often each verdict was reached."""
    found: Counter[str] = Counter()
    for number, one in enumerate(given, 1):
        try:
            found[await verdict(one)] += 1
        except Exception as error:  # noqa: BLE001 (counted, and the others are still to be tried)
            found[FAILED] += 1
            say(f"{what} {number} failed: {type(error).__name__}: {error}\n{one}")
        if number % EVERY == 0:
            say(f"{what}: {number}, {dict(found)}")
    return found


async def measure(arguments: argparse.Namespace, server: apiserver.ApiServer, report: Report) -> None:
    """Try all, and report them."""
    async with apiserver.client(server.kubeconfig) as client:
        kube = Kube(client)
        await established(kube, yaml.safe_load(CRD_FILE.read_text()))
        seed = arguments.seed
        judged = partial(odd.spec_verdict, kube, "default")
        counted(report, "specs", seed, await tried("specs", mutants(seed, arguments.specs), judged))
        judged = partial(odd.template_verdict, kube, "default")
        given = odd.templates(seed, arguments.templates)
        counted(report, "templates", seed, await tried("templates", given, judged))


def counted(report: Report, what: str, seed: int, found: Counter[str]) -> None:
    """Report how often each verdict was reached."""
    detail = {str(ending): count for ending, count in sorted(found.items())}
    report.row(f"{what}_failed", found[FAILED], f"of {found.total()}, seed {seed}", detail)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--specs", type=int, default=10_000)
    parser.add_argument("--templates", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    binaries = apiserver.binaries()
    if binaries is None:
        parser.error(
            "etcd and kube-apiserver: not found; build them with `make build`, or set INDEXCACHE_BIN"
        )
    report = Report(arguments.out, "python -m benchmarks.odd_input")
    report.begin(platform.machine(), {"kubernetes": "kube-apiserver of the testbed"})
    with tempfile.TemporaryDirectory() as folder, apiserver.running(Path(folder), binaries) as server:
        asyncio.run(measure(arguments, server, report))
    for row in report.data["rows"]:
        print(f"{row['name']:24} {row['value']:6.0f} {row['unit']}: {row['samples']}")


if __name__ == "__main__":
    main()

"""Everything that a cluster is made of, built once into the cache. Warm, this only compares keys.

Two things at a time: the Go compiler, which takes both cores, and what waits for the network.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import base_image, chart, golang, images, prerequisites, prune
from .layout import Layout
from .pins import Pins
from .report import Reporter


@dataclass(frozen=True, slots=True)
class Built:
    """What `build` leaves."""

    binaries: Path
    """Directory of kube-apiserver, kubectl, helm and the others."""
    chart: Path
    """Envoy Gateway's chart."""
    archives: tuple[Path, ...]
    """Images for containerd."""

    def paths(self) -> tuple[Path, ...]:
        """All of it."""
        return (self.binaries, self.chart, *self.archives)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file: one process at a time, freed by the kernel whatever becomes of the holder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def artifacts(layout: Layout, pins: Pins) -> Built:
    """Where everything lies, whether it is built or not."""
    binaries = golang.binaries(layout, pins)
    archives = [*images.go_archives(layout, pins, binaries).values(), *images.other_archives(layout, pins).values()]
    return Built(binaries, chart.chart_directory(layout, pins), (*archives, base_image.engine_archive(layout)))


def is_built(built: Built) -> bool:
    """Whether nothing is missing."""
    return all(path.exists() for path in built.paths())


def build(layout: Layout, report: Reporter) -> Built:
    """Build what is missing; if something was, drop what nobody needs any more.

    Raises:
        TestbedError: a prerequisite is missing, or a step failed.
    """
    pins = Pins.of(layout)
    built = artifacts(layout, pins)
    prerequisites.check(layout.cache, cold=not built.binaries.exists(), report=report)
    if is_built(built) and base_image.base_stamp(layout).exists():
        prune.use(layout, built.paths())
        return built
    layout.artifacts.mkdir(parents=True, exist_ok=True)
    with locked(layout.artifacts / "lock"), ThreadPoolExecutor(max_workers=1) as beside:
        fetched = beside.submit(_from_the_network, layout, pins, report)
        go = golang.find_go(layout, report)
        golang.build(layout, pins, go, report)
        chart.build_chart(layout, pins, go, report)
        fetched.result()
        images.build_go_images(layout, pins, built.binaries, report)
        prune.use(layout, built.paths())
        for place in prune.prune(layout):
            report.note(f"removed {place}, of earlier sources")
    return built


def _from_the_network(layout: Layout, pins: Pins, report: Reporter) -> None:
    base_image.build_base(layout, report)
    base_image.build_engine(layout, report)
    images.build_other_images(layout, pins, report)

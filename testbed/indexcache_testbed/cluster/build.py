"""Builds everything that a cluster is made of, once, into the cache. Warm, this only compares keys.

Two things at a time: the Go compiler, which takes both cores, and what waits for the network.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import (
    base_image,
    chart,
    chart_checks,
    engine_environment,
    golang,
    images,
    models,
    prerequisites,
    prune,
)
from .layout import Layout
from .locks import locked
from .pins import Pins
from .report import Reporter


@dataclass(frozen=True, slots=True)
class Built:
    """Says where `build` leaves what it made."""

    binaries: Path
    """Directory of kube-apiserver, kubectl, helm and the others."""
    chart: Path
    """Envoy Gateway's chart."""
    archives: tuple[Path, ...]
    """Images for containerd."""
    engine: Path
    """The environment with vLLM that engine pods mount."""
    models: Path
    """The models that they mount."""
    checks: Path
    """Directory of kube-score and kubeconform."""

    def artifacts(self) -> tuple[Path, ...]:
        """Return what lies among the artifacts."""
        return (self.binaries, self.chart, self.models, self.checks, *self.archives)


def artifacts(layout: Layout, pins: Pins) -> Built:
    """Return where everything lies, whether it is built or not."""
    binaries = golang.binaries(layout, pins)
    archives = [
        *images.go_archives(layout, pins, binaries).values(),
        *images.other_archives(layout, pins).values(),
    ]
    return Built(
        binaries=binaries,
        chart=chart.chart_directory(layout, pins),
        archives=(*archives, base_image.engine_archive(layout)),
        engine=engine_environment.place(layout),
        models=models.place(layout),
        checks=chart_checks.place(layout),
    )


def is_built(built: Built) -> bool:
    """Return whether nothing is missing."""
    return all(path.exists() for path in built.artifacts()) and engine_environment.is_whole(built.engine)


def build(layout: Layout, report: Reporter) -> Built:
    """Build what is missing; if something was, drop what nobody needs any more.

    Raises:
        TestbedError: a prerequisite is missing, or a step failed.
    """
    pins = Pins.of(layout)
    built = artifacts(layout, pins)
    gib = prerequisites.WARM_GIB if built.binaries.exists() else prerequisites.COLD_GIB
    prerequisites.check(layout.cache, gib=gib)
    if is_built(built) and base_image.base_stamp(layout).exists():
        prune.use(layout, built.artifacts())
        return built
    layout.artifacts.mkdir(parents=True, exist_ok=True)
    with locked(layout.artifacts / "lock"), ThreadPoolExecutor(max_workers=1) as beside:
        fetched = beside.submit(_from_the_network, layout, pins, report)
        go = golang.find_go(layout, report)
        golang.build(layout, pins, go, report)
        chart.build_chart(layout, pins, go, report)
        chart_checks.build(layout, go, report)
        fetched.result()
        images.build_go_images(layout, pins, built.binaries, report)
        prune.use(layout, built.artifacts())
        for place in prune.prune(layout):
            report.note(f"removed {place}, of earlier sources")
    return built


def _from_the_network(layout: Layout, pins: Pins, report: Reporter) -> None:
    base_image.build_base(layout, report)
    base_image.build_engine(layout, report)
    images.build_other_images(layout, pins, report)
    engine_environment.build(layout, report)
    models.build(layout)

"""Takes Envoy Gateway's own Helm chart out of its Go module. Its values.yaml is generated upstream from a
template with two variables.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from . import golang, keys
from .layout import Layout
from .pins import Pins
from .report import Reporter

MODULE = "github.com/envoyproxy/gateway"


def fill_values(template: str, image: str) -> str:
    """Return the chart's values with the image that is in the cluster, never to be pulled."""
    return template.replace("${GatewayImage}", image).replace("${GatewayImagePullPolicy}", "Never")


def chart_directory(layout: Layout, pins: Pins) -> Path:
    """Return where the chart lies once it is made."""
    return layout.artifacts / f"chart-{keys.key(pins.gateway, pins.images['envoy-gateway'], 'eg')}"


def build_chart(layout: Layout, pins: Pins, go: Path, report: Reporter) -> Path:
    """Make the chart, unless it is there."""
    out = chart_directory(layout, pins)
    if out.is_dir():
        return out
    with report.step("Envoy Gateway's Helm chart"):
        unfinished = out.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        source = golang.module_directory(go, layout, MODULE, pins.gateway) / "charts" / "gateway-helm"
        # copyfile, not copy: the module cache is read-only.
        shutil.copytree(source, unfinished, copy_function=shutil.copyfile)
        for directory in (unfinished, *(path for path in unfinished.rglob("*") if path.is_dir())):
            directory.chmod(0o755)
        template = (unfinished / "values.tmpl.yaml").read_text()
        (unfinished / "values.yaml").write_text(fill_values(template, pins.images["envoy-gateway"]))
        unfinished.rename(out)
    return out

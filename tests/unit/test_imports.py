"""The contracts on imports: kept by the code, and broken by builds that move a module out of their sight or
cross a border.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("core", "kernels", "operator", "runtime", "testbed", "testbed/dsa_cpu")
OPERATOR, RUNTIME = "operator/indexcache_operator", "runtime/indexcache_runtime"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy all packages, to be changed."""
    for folder in FOLDERS[:-1]:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


def check(root: Path) -> tuple[int, str]:
    """Return the exit code of the linter, and what it says with its line breaks taken out."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
            "--no-logo",
        ],
        cwd=root,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                [*(str(root / f) for f in FOLDERS), os.environ.get("PYTHONPATH", "")]
            ),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def appended(module: str, line: str) -> Callable[[Path], None]:
    """Return a change that adds a line to a module."""

    def change(root: Path) -> None:
        with (root / module).open("a") as file:
            file.write(line + "\n")

    return change


def moved(old: str, new: str) -> Callable[[Path], None]:
    """Return a change that renames a module, here and wherever it is imported."""

    def change(root: Path) -> None:
        shutil.move(root / old, root / new)
        before, after = (path.removesuffix(".py").partition("/")[2].replace("/", ".") for path in (old, new))
        for path in root.rglob("*.py"):
            path.write_text(path.read_text().replace(before, after))

    return change


MUTANTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "the plan's folder is renamed": (
        moved(f"{OPERATOR}/plan", f"{OPERATOR}/decisions"),
        "indexcache_operator.plan",
    ),
    "a pure module is renamed": (
        moved(f"{RUNTIME}/control/switch.py", f"{RUNTIME}/control/machine.py"),
        "switch",
    ),
    "vLLM's folder is renamed": (moved(f"{RUNTIME}/vllm", f"{RUNTIME}/engines"), "vllm"),
    "a module without a place": (appended(f"{RUNTIME}/novel.py", ""), "novel"),
    "the plan reads a clock": (
        appended(f"{OPERATOR}/plan/facts/revision.py", "import time"),
        "The plan does no input or output and has no clock BROKEN",
    ),
    "the plan looks by itself": (
        appended(
            f"{OPERATOR}/plan/facts/revision.py", "from indexcache_operator.observe import hugging_face"
        ),
        "observe, plan and act, which share but the model BROKEN",
    ),
    "observing acts": (
        appended(f"{OPERATOR}/observe/hugging_face.py", "from indexcache_operator.act import labels"),
        "which share but the model BROKEN",
    ),
    "acting looks": (
        appended(f"{OPERATOR}/act/route.py", "from indexcache_operator.observe import gateway"),
        "which share but the model BROKEN",
    ),
    "observing sends probes": (
        appended(
            f"{OPERATOR}/observe/hugging_face.py", "from indexcache_operator.probing import completions"
        ),
        "neither observing nor planning does it BROKEN",
    ),
    "core reads files": (
        appended("core/indexcache_core/pattern.py", "import os.path"),
        "Core does no input or output and has no clock BROKEN",
    ),
    "core knows the operator": (
        appended("core/indexcache_core/pattern.py", "import indexcache_operator"),
        "Arrows between packages point one way BROKEN",
    ),
    "the operator needs torch": (
        appended(f"{OPERATOR}/kube.py", "import torch"),
        "The operator needs nothing of an engine BROKEN",
    ),
    "vLLM outside its folder": (
        appended(f"{RUNTIME}/measuring/budget.py", "import vllm.config"),
        "but its own folder knows vLLM BROKEN",
    ),
    "the engine core imports a worker": (
        appended(
            f"{RUNTIME}/vllm/engine_core/step_planner.py", "from indexcache_runtime.vllm.worker import attach"
        ),
        "The engine core knows neither its workers nor the API server BROKEN",
    ),
    "the API server imports the control": (
        appended(
            f"{RUNTIME}/vllm/api_server/metrics.py", "from indexcache_runtime.control.server import serve"
        ),
        "The API server knows neither the engine core nor its workers BROKEN",
    ),
    "a circle": (
        appended(
            f"{RUNTIME}/vllm/api_server/metrics.py",
            "from indexcache_runtime.vllm.api_server.endpoint_loading import load_unlisted",
        ),
        "No package has a circle among its parts BROKEN",
    ),
    "a circle with its parent": (
        appended(f"{OPERATOR}/plan/facts/revision.py", "from indexcache_operator.plan import plan"),
        "No part of the plan imports the package that offers it BROKEN",
    ),
}


@pytest.mark.parametrize(("change", "said"), MUTANTS.values(), ids=MUTANTS.keys())
def test_a_build_that_breaks_a_contract_is_found_out(
    copy: Path, change: Callable[[Path], None], said: str
) -> None:
    change(copy)
    code, output = check(copy)
    assert code == 1, output
    assert said in output


def test_the_code_keeps_every_contract() -> None:
    code, output = check(ROOT)
    assert code == 0, output

"""Mutation testing of what decides: change the code in one place, and see if the module's own tests notice.

    python -m tests.mutants.run [MODULE...]      modules by a part of their name; without any, all of them
    python -m tests.mutants.run --again          only functions with survivors that nobody judged yet

Each module is mutated in a copy of the packages outside the checkout. Mutants that survived stand in
survivors.json, each with a judgement that a person wrote: `equivalent: ...` where no test can tell it from
the code, else why it is left alone. A judgement stays as long as its mutant survives.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from tests.mutants.record import Record, function_of, mangled
from tests.mutants.targets import PACKAGES, ROOT, Target, targets

NOTICED = {1, 3, 24, 36, 152, 255, -9, -11, -24}
"""Exit codes of a test run: failed, ended within a test, or out of time."""
SECONDS = 1800
"""Time that one module may take."""
CONFIG = """
[tool.pytest.ini_options]
addopts = "--import-mode=importlib"
markers = ["simulation: left out here"]
pythonpath = ["."]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
[tool.mutmut]
source_paths = {sources}
only_mutate = {module}
pytest_add_cli_args = ["-p", "no:cacheprovider", "-m", "not simulation"]
pytest_add_cli_args_test_selection = {tests}
"""


class Scratch:
    """A copy of the packages and the tests, laid out as mutmut expects: packages at the top."""

    def __init__(self, target: Target, folder: Path) -> None:
        self._target, self._folder = target, folder
        ignored = shutil.ignore_patterns("__pycache__")
        for package in PACKAGES:
            shutil.copytree(ROOT / package, folder / Path(package).name, ignore=ignored)
        shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignored)
        config = CONFIG.format(
            sources=json.dumps([Path(p).name for p in PACKAGES]),
            module=json.dumps([target.module]),
            tests=json.dumps(target.tests),
        )
        (folder / "pyproject.toml").write_text(config)

    def run(self, workers: int, functions: Collection[str] = ()) -> dict[str, int | None]:
        """Try all mutants, or those of some functions. Returns exit codes of the tests; None: not tried.

        Raises RuntimeError where one was not tried that should have been, with the end of what mutmut said.
        """
        asked = [f"{self._target.name}.{mangled(function)}__mutmut_*" for function in functions]
        done = self._tool("run", "--max-children", str(workers), *asked)
        meta = self._folder / "mutants" / f"{self._target.module}.meta"
        codes: dict[str, int | None] = {}
        if meta.exists():
            codes = json.loads(meta.read_text())["exit_code_by_key"]
        wanted = {name for name in codes if not functions or function_of(name) in functions}
        missing = [name for name in wanted if codes[name] is None]
        if missing or not meta.exists():
            raise RuntimeError(
                f"{self._target.name}: {len(missing)} of {len(wanted)} mutants were not tried; expected all. "
                f"mutmut ended with {done.returncode} and said: {(done.stdout + done.stderr)[-3000:]}"
            )
        return codes

    def change(self, mutant: str) -> str:
        """Return the lines that a mutant takes away and puts in."""
        shown = self._tool("show", mutant).stdout.splitlines()
        lines = [line for line in shown if line[:1] in "+-" and line[:3] not in ("---", "+++")]
        return "\n".join(f"{line[0]} {line[1:].strip()}" for line in lines)

    def _tool(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        tools = [p for p in sys.path if "site-packages" in p]  # what stands on the path, but for our packages
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(tools), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "tests.mutants.tool", *arguments]
        return subprocess.run(
            command, cwd=self._folder, env=env, capture_output=True, text=True, timeout=SECONDS
        )


def main(arguments: list[str] | None = None) -> int:
    """Run, write down, print. Returns 1 where over a tenth of the mutants that aren't equivalent survived."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", help="parts of modules' names")
    parser.add_argument("--again", action="store_true", help="only functions with survivors not judged yet")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    asked = parser.parse_args(arguments)
    everything = targets()
    record = Record.read()
    for target in everything:
        if asked.modules and not any(part in target.name for part in asked.modules):
            continue
        functions = record.open(target.name) if asked.again else set[str]()
        if asked.again and not functions:
            continue
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            scratch = Scratch(target, Path(folder))
            codes = scratch.run(asked.workers, functions)
            survived = [name for name, code in codes.items() if code is not None and code not in NOTICED]
            lived = {name: scratch.change(name) for name in survived}
        print(record.add(target.name, len(codes), lived, functions), flush=True)
        record.write({t.name for t in everything})
    print(record.summary())
    return int(record.share < 0.9)


if __name__ == "__main__":
    sys.exit(main())

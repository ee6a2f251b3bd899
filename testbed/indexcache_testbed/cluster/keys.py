"""Cache keys: what was built is named by a hash of all that it was built from, so nothing stale is used and
nothing built twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def key(*parts: str) -> str:
    """Return twelve hex digits that change when any part changes, or moves from one part to its neighbour."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:12]


def sources(paths: Iterable[Path], *, root: Path) -> list[str]:
    """Return names (relative to `root`) and texts of files, in the order of the names; a directory stands for
    all files under it.
    """
    files = {
        file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()
    }
    named = sorted((file.relative_to(root).as_posix(), file) for file in files)
    return [text for name, file in named for text in (name, file.read_text())]

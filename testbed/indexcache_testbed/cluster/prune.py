"""Removes what earlier sources were built into when nobody can need it any more: a set of binaries alone is 1
GB.

Kept is what a cluster that is up was started from, and what any checkout used within KEPT_SECONDS: several
share one cache, and one may be about to start a cluster from what it has just built.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from .layout import Layout

KEPT_SECONDS = 86400.0
PREFIXES = ("go-", "checks-", "image-", "chart-", "models-", "tmp")
"""Of directories named by a key, and of those that a killed build left."""


def use(layout: Layout, paths: Iterable[Path]) -> None:
    """Note that these are used now."""
    for path in paths:
        os.utime(_place(layout, path))


def prune(layout: Layout) -> list[Path]:
    """Remove what nobody needs, and return it. The caller holds the lock that building takes."""
    needed = {_place(layout, path) for path in _started_from(layout)}
    old = time.time() - KEPT_SECONDS
    places = [p for p in layout.artifacts.iterdir() if p.is_dir() and p.name.startswith(PREFIXES)]
    unneeded = sorted(p for p in places if p not in needed and p.stat().st_mtime < old)
    for place in unneeded:
        shutil.rmtree(place)
    return unneeded


def _place(layout: Layout, path: Path) -> Path:
    """Return the directory, right under the artifacts, that holds a path."""
    return layout.artifacts / path.relative_to(layout.artifacts).parts[0]


def _started_from(layout: Layout) -> list[Path]:
    """Return those artifacts that clusters were started from."""
    recorded = [
        json.loads(file.read_text()) for file in (layout.cache / "clusters").glob("*/state/built.json")
    ]
    paths = [Path(path) for one in recorded for path in one.values()]
    return [path for path in paths if path.is_relative_to(layout.artifacts)]

"""Old artifacts go, and nothing that anybody may still need."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from indexcache_testbed.cluster import prune
from indexcache_testbed.cluster.layout import Layout

OLD = time.time() - 2 * prune.KEPT_SECONDS


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(cache=tmp_path)


def made(layout: Layout, name: str, at: float = OLD) -> Path:
    place = layout.artifacts / name
    place.mkdir(parents=True)
    (place / "file").touch()
    os.utime(place, (at, at))
    return place


def test_what_is_old_goes_and_what_was_used_of_late_stays(layout: Layout) -> None:
    old = [made(layout, name) for name in ("chart-1", "go-1", "go-3.unfinished", "image-1", "tmpx")]
    kept = [made(layout, "go-2", time.time()), made(layout, "image-2")]
    prune.use(layout, [kept[1] / "image.tar"])
    assert prune.prune(layout) == sorted(old)
    assert all(place.exists() for place in kept)
    assert prune.prune(layout) == []


def test_what_a_cluster_was_started_from_stays(layout: Layout) -> None:
    binaries, chart = made(layout, "go-1"), made(layout, "chart-1")
    state = layout.cache / "clusters/another/state"
    state.mkdir(parents=True)
    (state / "built.json").write_text(json.dumps({"binaries": str(binaries), "chart": str(chart / "envoy")}))
    assert prune.prune(layout) == []


def test_nothing_else_is_touched(layout: Layout) -> None:
    others = [made(layout, name) for name in ("buildah", "project")]
    (layout.artifacts / "lock").touch()
    os.utime(layout.artifacts / "lock", (OLD, OLD))
    assert prune.prune(layout) == []
    assert all(place.exists() for place in others)

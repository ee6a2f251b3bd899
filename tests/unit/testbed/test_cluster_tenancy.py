"""A cluster belongs to the checkout that asked last, and is not taken from one that uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from indexcache_testbed.cluster import tenancy
from indexcache_testbed.cluster.build import Built
from indexcache_testbed.cluster.errors import TestbedError
from indexcache_testbed.cluster.handle import Cluster
from indexcache_testbed.cluster.layout import CHECKOUT, Layout
from indexcache_testbed.cluster.lifecycle import _configuration, _is_configured, _link_volumes, _record

Command = subprocess.Popen[str]
HOLD = """
import fcntl, os, sys
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_SH)
os.set_inheritable(lock, True)
os.execvp("sh", ["sh", "-c", "echo held; read line", "a-command-of-the-other"])
"""


def built(folder: Path) -> Built:
    return Built(
        folder / "go-1", folder / "chart-1", (), folder / "engine-1", folder / "models-1", folder / "checks-1"
    )


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """Return a cluster that is up, and brought to another checkout."""
    cluster = Cluster(Layout(tmp_path / "cache", name="unit"))
    cluster.layout.state.mkdir(parents=True)
    cluster.layout.launcher.write_text(Path("/proc/self/stat").read_text())
    _record(Cluster(replace(cluster.layout, checkout=tmp_path / "other")), built(tmp_path))
    return cluster


@pytest.fixture
def other(cluster: Cluster) -> Iterator[Command]:
    """Run a command of the other checkout's in the cluster, which holds on over exec."""
    command = [sys.executable, "-c", HOLD, str(cluster.layout.use)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_it_is_taken_from_a_checkout_that_does_not_use_it(cluster: Cluster, tmp_path: Path) -> None:
    with tenancy.taken(cluster):
        _record(cluster, built(tmp_path))
    assert tenancy.owner(cluster) == CHECKOUT


def test_it_is_not_taken_from_one_that_does(cluster: Cluster, other: Command, tmp_path: Path) -> None:
    using = rf"process {other.pid}, sh -c .*a-command-of-the-other"
    expected = rf"in use by the checkout {tmp_path}/other: {using}; wait until.*`make down`"
    with pytest.raises(TestbedError, match=expected), tenancy.taken(cluster):
        pytest.fail("it was taken")
    other.kill()
    other.wait()
    with tenancy.taken(cluster):
        pass


def test_its_own_checkout_may_always_go_on(cluster: Cluster, other: Command, tmp_path: Path) -> None:
    _record(cluster, built(tmp_path))
    with tenancy.taken(cluster):
        pass


def test_a_command_in_anothers_cluster_is_refused_by_name(
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(Cluster, "init", lambda cluster: object())
    with pytest.raises(
        TestbedError,
        match=rf"was brought to {tmp_path}/other, this is {CHECKOUT}; bring it here with `make up`",
    ):
        tenancy.hold(cluster)
    with tenancy.taken(cluster):  # who was refused holds nothing
        _record(cluster, built(tmp_path))
    tenancy.hold(cluster)
    elsewhere = Cluster(replace(cluster.layout, checkout=tmp_path / "third"))
    with pytest.raises(TestbedError, match="in use by"), tenancy.taken(elsewhere):
        pytest.fail("it was taken")


def test_what_an_older_testbed_recorded_names_no_checkout(cluster: Cluster) -> None:
    cluster.layout.started_from.write_text(json.dumps({"binaries": "/go-1", "chart": "/chart-1"}))
    assert tenancy.owner(cluster) is None
    with tenancy.taken(cluster):
        pass


def test_volumes_lead_to_what_this_checkout_was_built_into(cluster: Cluster, tmp_path: Path) -> None:
    first = built(tmp_path)
    assert _link_volumes(cluster, first)
    assert not _link_volumes(cluster, first)
    assert _link_volumes(cluster, replace(first, models=tmp_path / "models-2"))
    assert {link.name: link.readlink() for link in cluster.layout.volumes.iterdir()} == {
        "engine-env": tmp_path / "engine-1",
        "models": tmp_path / "models-2",
    }


def test_other_binaries_ask_for_another_cluster(cluster: Cluster, tmp_path: Path) -> None:
    made = built(tmp_path)
    assert not _is_configured(cluster, made)
    for file, text in _configuration(cluster.layout, made).items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert _is_configured(cluster, made)
    assert not _is_configured(cluster, replace(made, binaries=tmp_path / "go-2"))

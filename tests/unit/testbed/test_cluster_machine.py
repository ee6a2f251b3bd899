"""The edges to the machine, on files that stand for it and on this very process."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from indexcache_testbed.cluster import cgroups, faults
from indexcache_testbed.cluster.errors import CommandError, TestbedError
from indexcache_testbed.cluster.handle import Cluster
from indexcache_testbed.cluster.inspect import log_command, status
from indexcache_testbed.cluster.layout import Layout
from indexcache_testbed.cluster.lifecycle import dead_components
from indexcache_testbed.cluster.processes import Process, start_time
from indexcache_testbed.cluster.shell import run
from indexcache_testbed.cluster.store import parse_images, unused


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    cluster = Cluster(Layout(cache=tmp_path, name="unit"))
    cluster.layout.logs.mkdir(parents=True)
    return cluster


def test_a_start_time_is_found_behind_any_name() -> None:
    rest = " ".join(str(number) for number in range(3, 23))
    assert start_time(f"7 (a) b) {rest}") == 22


def test_a_recorded_process_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "launcher").write_text(Path("/proc/self/stat").read_text())
    found = Process.recorded(tmp_path / "launcher")
    assert found is not None
    assert found.pid == os.getpid()


def test_an_id_given_to_another_process_is_not_mistaken(tmp_path: Path) -> None:
    number, name, rest = (
        Path("/proc/self/stat").read_text().partition(" (")[0],
        "sh",
        ["S", *["1"] * 18, "1", "0"],
    )
    (tmp_path / "launcher").write_text(f"{number} ({name}) {' '.join(rest)}")
    assert Process.recorded(tmp_path / "launcher") is None


@pytest.mark.parametrize("text", ["", "12"])
def test_a_record_cut_short_is_no_process(tmp_path: Path, text: str) -> None:
    (tmp_path / "launcher").write_text(text)
    assert Process.recorded(tmp_path / "launcher") is None


def test_a_killed_process_is_not_alive_even_before_it_is_reaped() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        process = Process.of(child.pid)
        assert process is not None
        process.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not process.alive()
        assert child.wait() == -signal.SIGKILL


def test_a_failed_command_tells_what_it_said() -> None:
    with pytest.raises(CommandError, match=r"status 3\nwhat went wrong") as caught:
        run(["sh", "-c", "echo what went wrong >&2; exit 3"])
    assert caught.value.status == 3


def test_the_reason_is_told_however_much_went_well() -> None:
    with pytest.raises(CommandError, match="spec is immutable"):
        run(["sh", "-c", "echo 'The PersistentVolume is invalid: spec is immutable' >&2; seq 100; exit 1"])


def test_a_command_that_takes_too_long_is_ended() -> None:
    with pytest.raises(CommandError, match="ran out of time"):
        run(["sleep", "600"], timeout=0.1)


def test_groups_of_version_1_are_made_in_every_hierarchy(tmp_path: Path) -> None:
    (tmp_path / "cpu,cpuacct").mkdir()
    (tmp_path / "cpuset").mkdir()
    (tmp_path / "cpu").symlink_to("cpu,cpuacct")
    cgroups.create("/testbed-unit", tmp_path)
    assert [
        group.relative_to(tmp_path).as_posix() for group in cgroups.parents("/testbed-unit", tmp_path)
    ] == [
        "cpu,cpuacct/testbed-unit",
        "cpuset/testbed-unit",
    ]
    assert (tmp_path / "cpuset" / "testbed-unit").is_dir()


def test_groups_are_removed_from_the_leaves(tmp_path: Path) -> None:
    (tmp_path / "cpu" / "testbed-unit" / "kubepods" / "pod1").mkdir(parents=True)
    cgroups.remove("/testbed-unit", tmp_path)
    assert list((tmp_path / "cpu").iterdir()) == []


def test_a_group_in_use_is_named(tmp_path: Path) -> None:
    group = tmp_path / "cpu" / "testbed-unit" / "kubepods"
    group.mkdir(parents=True)
    (group / "cgroup.procs").write_text("41\n")
    with pytest.raises(TestbedError, match=r"kubepods: still in use.*'41'"):
        cgroups.remove("/testbed-unit", tmp_path, seconds=0)


def test_version_2_has_one_hierarchy(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").touch()
    cgroups.create("/testbed-unit", tmp_path)
    assert "+memory" in (tmp_path / "cgroup.subtree_control").read_text()
    assert cgroups.parents("/testbed-unit", tmp_path) == [tmp_path / "testbed-unit"]


def test_images_are_known_by_digest() -> None:
    listing = (
        "REF TYPE DIGEST SIZE PLATFORMS LABELS\nlocalhost/a:1 application/x sha256:aa 1.0 MiB linux/amd64 -\n"
    )
    assert parse_images(listing) == {"localhost/a:1": "sha256:aa"}


def test_a_cut_drops_both_ways() -> None:
    there, back = faults.cut_rules(["10.88.1.5"])
    assert {"-s", "10.88.1.5/32", "--dport", "18000", "DROP"} <= set(there)
    assert {"-d", "10.88.1.5/32", "--sport", "18000", "DROP"} <= set(back)


def test_a_cluster_that_does_not_run_says_so(cluster: Cluster) -> None:
    assert [line.value for line in status(cluster)] == ["unit does not run"]
    with pytest.raises(TestbedError, match="start it with `testbed up`"):
        cluster.enter(["true"])
    with pytest.raises(TestbedError, match="start it with `testbed up`"):
        cluster.join()


def test_an_event_half_written_is_left_for_later(cluster: Cluster) -> None:
    cluster.layout.events.write_text('{"event": "ended", "name": "etcd"}\n{"event": "ended", "na')
    assert dead_components(cluster) == ["etcd"]


def test_an_unknown_log_names_those_that_are(cluster: Cluster) -> None:
    (cluster.layout.logs / "etcd.log").touch()
    with pytest.raises(TestbedError, match="there are pod/NAMESPACE/NAME and etcd"):
        log_command(cluster, "etc", follow=False)
    assert log_command(cluster, "etcd", follow=True)[0][-2:] == ["-f", str(cluster.layout.logs / "etcd.log")]


def test_images_of_other_tags_go_unless_a_container_uses_them() -> None:
    there = {
        "localhost/a:new": "sha256:3",
        "localhost/a:old": "sha256:1",
        "sha256:config-of-old": "sha256:1",
        "localhost/a:used": "sha256:2",
        "localhost/ab:old": "sha256:4",
        "localhost/a:same-as-new": "sha256:3",
    }
    assert unused(there, ["localhost/a:used", "other"], "localhost/a", "localhost/a:new") == [
        "localhost/a:old",
        "sha256:config-of-old",
    ]

"""The testbed itself, on a cluster of its own name: it starts twice as once, and what it leaves is
nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from indexcache_testbed.cluster import Cluster, TestbedError, faults, lifecycle, tenancy
from indexcache_testbed.cluster.addons import (
    ENVOY_NAMESPACE,
    configure_receiver,
    gateway_address,
    receiver_token,
)
from indexcache_testbed.cluster.cgroups import parents
from indexcache_testbed.cluster.errors import CommandError
from indexcache_testbed.cluster.processes import Process
from indexcache_testbed.cluster.report import Reporter
from indexcache_testbed.cluster.shell import run

from tests.cluster.testbed_objects import backend, engine_and_receiver, pod, route, rules

pytestmark = pytest.mark.cluster

NAME = "of-the-testbed"


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.05)


def machine() -> dict[str, list[str]]:
    """Return what a cluster could leave on the machine. Rules come without comments and packet counters,
    which change by themselves.
    """
    rules = [line for line in run(["iptables-save"]).splitlines() if not line.startswith("#")]
    return {
        "ip netns": sorted(run(["ip", "netns"]).splitlines()),
        "links": sorted(re.findall(r"^\d+: ([^:@]+)", run(["ip", "link"]), re.MULTILINE)),
        "mount": sorted(Path("/proc/self/mounts").read_text().splitlines()),
        "iptables-save": [re.sub(r"\[\d+:\d+\]", "", line) for line in rules],
        "cgroups": [str(group) for group in parents(f"/testbed-{NAME}") if group.exists()],
        "ps": processes(),
    }


def processes() -> list[str]:
    """Return command lines that name this cluster's directory: its components, their launcher, the pods'
    shims. Others come and go.
    """
    return sorted(
        line for line in run(["ps", "-e", "-ww", "-o", "args="]).splitlines() if f"/clusters/{NAME}/" in line
    )


def processes_in(namespace: str) -> list[int]:
    """Return processes whose process namespace is `namespace`."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(directory / "ns" / "pid") == namespace:
                found.append(int(directory.name))
        except (
            FileNotFoundError,
            ProcessLookupError,
            PermissionError,
        ):  # it ended meanwhile, or is the machine's own
            continue
    return found


@pytest.fixture(scope="module")
def before() -> dict[str, list[str]]:
    lifecycle.down(Cluster.named(NAME))
    return machine()


@pytest.fixture(scope="module")
def cluster(before: dict[str, list[str]]) -> Iterator[Cluster]:
    cluster = Cluster.named(NAME)
    lifecycle.up(cluster, Reporter())
    yield cluster
    lifecycle.down(cluster)


def of_a_job(thing: dict[str, Any]) -> bool:
    """Return whether a Job made it: the gateway's chart has one, which goes by itself some time after its
    end.
    """
    return any(owner["kind"] == "Job" for owner in thing["metadata"].get("ownerReferences", []))


def test_a_second_up_changes_nothing(cluster: Cluster) -> None:
    def snapshot() -> dict[str, object]:
        everything = cluster.items(
            "deployments,services,configmaps,secrets,gateways,persistentvolumeclaims,pods", "-A"
        )
        found = [o["metadata"] | {"kind": o["kind"]} for o in everything if not of_a_job(o)]
        return {f"{m['kind']}/{m['name']}": (m["uid"], m.get("generation")) for m in found}

    init, objects = cluster.init(), snapshot()
    lifecycle.up(cluster, Reporter())
    assert cluster.init() == init
    assert snapshot() == objects


def test_the_receiver_that_users_set_survives_an_up(cluster: Cluster) -> None:
    configure_receiver(cluster, url="http://receiver.default.svc/alerts", token="a-users-token")
    lifecycle.up(cluster, Reporter())
    assert receiver_token(cluster) == "a-users-token"
    assert (
        "http://receiver.default.svc/alerts"
        in cluster.get("configmap", "alertmanager", "-n", "monitoring")["data"]["alertmanager.yml"]
    )


def test_a_pod_with_a_host_path_is_refused_in_serving(cluster: Cluster) -> None:
    with pytest.raises(CommandError, match=r"violates PodSecurity \"restricted:latest\".*hostPath"):
        cluster.kubectl("create", "-f", "-", stdin=pod("host-path", {"hostPath": {"path": "/etc"}}, ["true"]))


def test_a_pod_reads_models_through_its_claim_and_cannot_write_them(cluster: Cluster) -> None:
    names = sorted(path.name for path in cluster.layout.models.iterdir())
    volume: dict[str, object] = {"persistentVolumeClaim": {"claimName": "models", "readOnly": True}}
    cluster.kubectl(
        "create",
        "-f",
        "-",
        stdin=pod("claim", volume, ["sh", "-c", "ls -A /data; ! touch /data/x 2>/dev/null"]),
    )
    cluster.kubectl(
        "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/claim", "-n", "serving", "--timeout=60s"
    )
    assert sorted(cluster.kubectl("logs", "claim", "-n", "serving").split()) == names


def test_another_checkout_gets_the_cluster_and_its_own_models(cluster: Cluster, tmp_path: Path) -> None:
    ours = cluster.layout.checkout
    (tmp_path / "testbed").mkdir()
    (tmp_path / "requirements").symlink_to(ours / "requirements")
    for name in ("go", "chart_checks", "cluster", "dsa_cpu", "vllm_name"):
        (tmp_path / "testbed" / name).symlink_to(ours / "testbed" / name)
    shutil.copytree(cluster.layout.models, tmp_path / "testbed" / "models")
    (tmp_path / "testbed" / "models" / "of-another-checkout").touch()
    volume: dict[str, object] = {"persistentVolumeClaim": {"claimName": "models", "readOnly": True}}
    cluster.kubectl("create", "-f", "-", stdin=pod("ours", volume, ["sleep", "600"]))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/ours", "-n", "serving", "--timeout=60s")
    init, another = cluster.init(), Cluster(replace(cluster.layout, checkout=tmp_path))
    lifecycle.up(another, Reporter())
    assert (another.init(), tenancy.owner(another)) == (init, tmp_path)
    assert cluster.get("pod", "ours", "-n", "serving") is None  # it had the other models
    cluster.kubectl("create", "-f", "-", stdin=pod("another", volume, ["ls", "/data"]))
    succeeded = "--for=jsonpath={.status.phase}=Succeeded"
    cluster.kubectl("wait", succeeded, "pod/another", "-n", "serving", "--timeout=60s")
    assert "of-another-checkout" in cluster.kubectl("logs", "another", "-n", "serving").split()
    with pytest.raises(TestbedError, match=r"was brought to .*; bring it here with `make up`"):
        tenancy.hold(cluster)
    lifecycle.up(cluster, Reporter())
    assert (cluster.init(), tenancy.owner(cluster)) == (init, ours)


def test_nobody_is_administrator_without_a_certificate(cluster: Cluster) -> None:
    answer = cluster.run(["curl", "-sk", "https://127.0.0.1:6443/api/v1/secrets"])
    assert json.loads(answer)["code"] == 403


def test_nothing_inside_reaches_the_outside(cluster: Cluster) -> None:
    assert "default" not in cluster.run(["ip", "route"])


def test_a_gateway_cut_off_from_its_proxies_reports_what_it_does_not_do(cluster: Cluster) -> None:
    address = gateway_address(cluster)

    def answers() -> set[str]:
        return set(cluster.run(["curl", "-s", "-m", "2", f"http://{address}/[1-20]"]).split())

    def accepted() -> bool:
        found = cluster.get("httproute", "cut")
        parents_ = found["status"].get("parents", [])
        return (
            bool(parents_)
            and parents_[0]["conditions"][0]["observedGeneration"] == found["metadata"]["generation"]
        )

    objects = [*backend("old"), *backend("new"), route(1, 0)]
    cluster.kubectl(
        "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    )
    cluster.kubectl("wait", "--for=condition=Ready", "pod/old", "pod/new", "--timeout=60s")
    eventually(lambda: answers() == {"old"})
    faults.cut_gateway(cluster)
    try:
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(route(0, 1)))
        eventually(accepted)
        assert answers() == {"old"}
    finally:
        faults.restore_gateway(cluster)
    assert not faults.is_cut(cluster)
    eventually(lambda: answers() == {"new"})


def test_an_engines_metric_becomes_an_alert_at_the_receiver(cluster: Cluster) -> None:
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(engine_and_receiver()))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/engine", "-n", "serving", "--timeout=60s")
    address = cluster.get("pod", "engine", "-n", "serving")["status"]["podIP"]
    configure_receiver(cluster, url=f"http://{address}:8000/alerts", token="a-token")
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(rules()))

    def calls() -> list[str]:
        return [
            line
            for line in cluster.kubectl("logs", "engine", "-n", "serving").splitlines()
            if "RecallLow" in line
        ]

    eventually(lambda: bool(calls()))
    header, _, payload = calls()[0].partition(" {")
    alert = json.loads("{" + payload)["alerts"][0]
    assert header == "Bearer a-token"
    assert alert["status"] == "firing"
    assert {"rollout": "glm5", "namespace": "serving", "pod": "engine", "revision": "r7"}.items() <= alert[
        "labels"
    ].items()


def test_status_tells_a_component_that_ended(cluster: Cluster) -> None:
    scheduler = next(event for event in lifecycle.events(cluster) if event.get("name") == "kube-scheduler")
    init = cluster.init()
    assert init is not None
    # Its id is one of the cluster's own process namespace.
    run(["nsenter", "-t", str(init.pid), "-p", "-m", "kill", "-9", str(scheduler["pid"])])
    eventually(lambda: lifecycle.dead_components(cluster) == ["kube-scheduler"])
    lifecycle.up(cluster, Reporter())
    assert lifecycle.dead_components(cluster) == []


def test_down_leaves_the_machine_as_it_was(cluster: Cluster, before: dict[str, list[str]]) -> None:
    launcher, init = cluster.launcher(), cluster.init()
    assert launcher is not None
    assert init is not None
    namespace = os.readlink(f"/proc/{init.pid}/ns/pid")
    assert cluster.items("pods", "-n", ENVOY_NAMESPACE)
    assert machine()["ps"] != before["ps"]
    lifecycle.down(cluster)
    assert machine() == before
    assert processes_in(namespace) == []
    assert not Path(f"/proc/{launcher.pid}").exists()
    assert not Path(f"/proc/{init.pid}").exists()
    assert not cluster.layout.state.exists()


def test_down_cleans_up_after_an_up_that_was_killed(cluster: Cluster, before: dict[str, list[str]]) -> None:
    lifecycle.down(cluster)
    starting = subprocess.Popen(
        [sys.executable, "-m", "indexcache_testbed.cli", "up", "--name", NAME], stdout=subprocess.DEVNULL
    )
    eventually(lambda: cluster.init() is not None)
    starting.kill()
    starting.wait()
    launcher = cluster.launcher()
    assert isinstance(launcher, Process)
    lifecycle.down(cluster)
    assert not launcher.alive()
    assert machine() == before

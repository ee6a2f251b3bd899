"""Starts and ends a cluster.

All that a cluster makes (veths, bridge, iptables, mounts, shims) belongs to namespaces whose first process is
`init`; the launcher, `unshare --kill-child`, takes it along when it ends. So `down` kills one process, waits
for both, and removes control groups and files. The launcher's id is on disk before the first namespace
exists: a killed `up` leaves nothing that `down` can't find.

`up` brings a cluster that runs to what the checkout was built into: it starts it anew if it was configured or
built otherwise, and engine pods if they mount another environment or other models.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import addons, certs, cgroups, configs, tenancy
from .build import Built, build
from .errors import TestbedError
from .handle import Cluster
from .layout import Layout
from .locks import locked
from .pins import Pins
from .prerequisites import require_root
from .report import Reporter
from .store import import_archives

READY_SECONDS = 120
# Writes its own /proc stat line (id and start time) and becomes the launcher.
RECORD = 'cat /proc/$$/stat > "$0" && exec "$@"'
UNSHARE = (
    "unshare",
    "--net",
    "--pid",
    "--mount",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--propagation",
    "private",
)


def up(cluster: Cluster, report: Reporter) -> None:
    """Build what is missing, start the cluster if it does not run, install what is missing in it.

    Raises:
        TestbedError: something did not come up, and its log's last lines are in the text; or another checkout
        uses the cluster.
    """
    built = build(cluster.layout, report)
    with locked(cluster.layout.home / "lock"), tenancy.taken(cluster):
        if cluster.init() and not dead_components(cluster) and _is_configured(cluster, built):
            report.note(f"the cluster {cluster.layout.name} runs")
            _bring(cluster, built, report)
        else:
            _remove(cluster)
            _start(cluster, built, report)
        addons.install(cluster, built, Pins.of(cluster.layout), report)


def down(cluster: Cluster, *, everything: bool = False) -> None:
    """End the cluster and remove all of it but the imported images; with `everything` these too.

    Raises:
        TestbedError: its processes did not end.
    """
    require_root("testbed down")
    with locked(cluster.layout.home / "lock"):
        _remove(cluster)
        if everything:
            shutil.rmtree(cluster.layout.home)


def events(cluster: Cluster) -> list[dict[str, Any]]:
    """Return what process 1 reported so far."""
    if not cluster.layout.events.exists():
        return []
    # The last line may still be in the writing.
    return [
        json.loads(line)
        for line in cluster.layout.events.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]


def dead_components(cluster: Cluster) -> list[str]:
    """Return components that were started and have ended."""
    return [event["name"] for event in events(cluster) if event["event"] == "ended"]


def _configuration(layout: Layout, built: Built) -> dict[Path, str]:
    """Return what components are started with: texts by file. It depends on no checkout's path."""
    return {
        layout.state / "containerd.toml": configs.containerd(layout, Pins.of(layout).images["pause"]),
        layout.state / "cni" / "net.d" / "10-testbed.conflist": configs.cni(layout),
        layout.state / "kubelet.yaml": configs.kubelet(layout),
        layout.state / "plan.json": json.dumps(configs.plan(layout, built.binaries)),
    }


def _is_configured(cluster: Cluster, built: Built) -> bool:
    """Return whether the cluster was started as this checkout would; one that is no checkout's was not."""
    wanted = _configuration(cluster.layout, built)
    as_wanted = all(file.exists() and file.read_text() == text for file, text in wanted.items())
    return as_wanted and tenancy.owner(cluster) is not None


def _bring(cluster: Cluster, built: Built, report: Reporter) -> None:
    """Bring a cluster that runs to what this checkout was built into."""
    with report.step("images"):
        import_archives(cluster, built.archives)
    if _link_volumes(cluster, built):
        with report.step("engine pods end, to start anew with this checkout's environment and models"):
            cluster.kubectl("delete", "pods", "--all", "-n", addons.ENGINES_NAMESPACE, "--timeout=120s")
    _record(cluster, built)


def _link_volumes(cluster: Cluster, built: Built) -> bool:
    """Let the volumes' paths lead to the environment and the models; return whether one led elsewhere."""
    cluster.layout.volumes.mkdir(parents=True, exist_ok=True)
    changed = False
    for name, place in addons.volumes(built).items():
        link = cluster.layout.volumes / name
        if not link.is_symlink() or link.readlink() != place:
            unfinished = link.with_suffix(".new")
            unfinished.unlink(missing_ok=True)
            unfinished.symlink_to(place)
            unfinished.replace(link)
            changed = True
    return changed


def _record(cluster: Cluster, built: Built) -> None:
    layout = cluster.layout
    places = {
        "checkout": layout.checkout,
        "binaries": built.binaries,
        "chart": built.chart,
        "engine": built.engine,
        "models": built.models,
    }
    layout.started_from.write_text(json.dumps({name: str(place) for name, place in places.items()}))


def _start(cluster: Cluster, built: Built, report: Reporter) -> None:
    layout = cluster.layout
    begun = time.monotonic()
    with report.step("namespaces and certificates"):
        _write_state(cluster, built)
        cgroups.create(layout.cgroup)
        argv = [
            *UNSHARE,
            sys.executable,
            "-m",
            "indexcache_testbed.cluster.init",
            str(layout.state / "plan.json"),
        ]
        with (layout.logs / "init.log").open("ab") as log:
            # Forked off: the launcher is nobody's child here, and leaves no zombie behind in a caller that
            # lives on.
            detached = ["setsid", "--fork", "sh", "-c", RECORD, str(layout.launcher), *argv]
            subprocess.run(
                detached, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd="/", check=True
            )
        _until(cluster, "the first process", lambda: cluster.init() is not None)
    with ThreadPoolExecutor(max_workers=1) as beside:
        _until(cluster, "containerd", layout.containerd_socket.exists)
        imported = beside.submit(import_archives, cluster, built.archives)
        with report.step("API server"):
            _until(
                cluster, "kube-apiserver", lambda: any(event["event"] == "ready" for event in events(cluster))
            )
        with report.step("node Ready"):
            _until(cluster, "kubelet", lambda: _node_ready(cluster), every=0.2)
        report.note(f"node Ready {time.monotonic() - begun:.1f} s after the start")
        with report.step("images imported"):
            imported.result()


def _write_state(cluster: Cluster, built: Built) -> None:
    layout = cluster.layout
    for directory in (
        layout.logs,
        layout.state / "run",
        layout.state / "cni" / "net.d",
        layout.state / "kubeconfig",
    ):
        directory.mkdir(parents=True)
    certs.write_all(
        layout.pki, node=configs.NODE, apiserver=configs.APISERVER_NAMES, kubelet=configs.KUBELET_NAMES
    )
    for client in certs.clients(configs.NODE):
        file = layout.state / "kubeconfig" / client
        file.touch(mode=0o600)
        file.write_text(configs.kubeconfig(layout, client))
    for path, text in _configuration(layout, built).items():
        path.write_text(text)
    _link_volumes(cluster, built)
    _record(cluster, built)


def _node_ready(cluster: Cluster) -> bool:
    node = cluster.get("node", configs.NODE)
    return bool(node) and any(
        c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", [])
    )


def _until(cluster: Cluster, component: str, condition: Callable[[], bool], *, every: float = 0.05) -> None:
    """Wait for a condition, or for the reason why it will never hold."""
    deadline = time.monotonic() + READY_SECONDS
    recorded_by = time.monotonic() + 10
    while not condition():
        dead = dead_components(cluster)
        ended = cluster.launcher() is None and time.monotonic() > recorded_by
        if dead or ended or time.monotonic() > deadline:
            name = dead[0] if dead else "init" if ended else component
            what = "ended" if dead or ended else f"was not ready after {READY_SECONDS} s"
            raise TestbedError(f"{name} {what}; the end of its log:\n{log_tail(cluster, name)}")
        time.sleep(every)


def log_tail(cluster: Cluster, component: str, lines: int = 15) -> str:
    """Return the last lines of a component's log."""
    file = cluster.layout.logs / f"{component}.log"
    return (
        "\n".join(file.read_text(errors="replace").splitlines()[-lines:])
        if file.exists()
        else f"({file} does not exist)"
    )


def _remove(cluster: Cluster) -> None:
    """End all processes, then remove control groups and state. Works on whatever a crash left."""
    launcher, init = cluster.launcher(), cluster.init()
    # The launcher's end kills process 1, whose end kills the rest; the kernel lets go of process 1 last.
    for process in (launcher, init):
        if process:
            process.kill()
    for process in (launcher, init):
        if process:
            process.wait(30)
    cgroups.remove(cluster.layout.cgroup)
    if cluster.layout.state.exists():
        shutil.rmtree(cluster.layout.state)

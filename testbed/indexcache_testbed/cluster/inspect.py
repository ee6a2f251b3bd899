"""Shows what a cluster looks like from outside: its parts, their logs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import addons, configs, lifecycle, tenancy
from .errors import TestbedError
from .handle import Cluster
from .pins import Pins


@dataclass(frozen=True, slots=True)
class Line:
    """A fact of a cluster's status."""

    what: str
    value: str
    good: bool = True


def status(cluster: Cluster) -> list[Line]:
    """Describe components, node, gateway and workloads of the cluster's own; a cluster that does not run is
    one line."""
    if cluster.init() is None:
        return [Line("cluster", f"{cluster.layout.name} does not run", good=False)]
    lines = [Line("cluster", f"{cluster.layout.name}, state in {cluster.layout.state}")]
    lines.append(Line("checkout", f"{tenancy.owner(cluster) or 'of none'}"))
    lines += _components(lifecycle.events(cluster))
    node = cluster.get("node", configs.NODE)
    ready = [
        c["status"] for c in (node or {}).get("status", {}).get("conditions", []) if c["type"] == "Ready"
    ]
    lines.append(Line("node", f"{configs.NODE} Ready={''.join(ready) or 'Unknown'}", good=ready == ["True"]))
    address = addons.gateway_address(cluster)
    lines.append(
        Line("gateway", f"http://{address}" if address else "has no address", good=address is not None)
    )
    lines += map(_deployment, cluster.items("deployments", "-A"))
    pins = Pins.of(cluster.layout)
    lines.append(
        Line(
            "versions",
            f"Kubernetes {pins.kubernetes}, etcd {pins.etcd}, Envoy Gateway {pins.gateway}, Envoy "
            f"{pins.envoy}",
        )
    )
    lines.append(Line("", f"CoreDNS {pins.coredns}, Prometheus {pins.prometheus}, Helm {pins.helm}"))
    return lines


def _components(events: Sequence[dict[str, object]]) -> list[Line]:
    ended = {str(event["name"]): event["status"] for event in events if event["event"] == "ended"}
    started = [str(event["name"]) for event in events if event["event"] == "started"]
    return [
        Line(name, f"ended with status {ended[name]}" if name in ended else "runs", good=name not in ended)
        for name in started
    ]


def _deployment(deployment: dict[str, dict[str, object]]) -> Line:
    meta, spec, now = deployment["metadata"], deployment["spec"], deployment["status"]
    ready, wanted = now.get("readyReplicas", 0), spec.get("replicas", 1)
    return Line(f"{meta['namespace']}/{meta['name']}", f"{ready}/{wanted} ready", good=ready == wanted)


def log_command(cluster: Cluster, name: str, *, follow: bool) -> tuple[list[str], dict[str, str]]:
    """Return the command, and its environment, that shows a log.

    Args:
        cluster: the cluster. name: a component's name (kubelet, etcd, ...), or `pod/NAMESPACE/NAME`
        (deployment, job, ... likewise). follow: whether to go on as it grows.

    Raises:
        TestbedError: there is no such log; the text names those that are.
    """
    parts = name.split("/")
    if len(parts) == 3:
        kind, namespace, own = parts
        words = [
            "kubectl",
            "logs",
            f"{kind}/{own}",
            "-n",
            namespace,
            "--all-containers",
            "--tail=200",
            *(["-f"] if follow else []),
        ]
        return cluster.enter(words), {**os.environ, **cluster.environment()}
    file: Path = cluster.layout.logs / f"{name}.log"
    if not file.exists():
        known = (
            ", ".join(sorted(path.stem for path in cluster.layout.logs.glob("*.log")))
            or "none: the cluster does not run"
        )
        raise TestbedError(f"{name}: no such log; there are pod/NAMESPACE/NAME and {known}")
    return ["tail", "-n", "200", *(["-f"] if follow else []), str(file)], dict(os.environ)

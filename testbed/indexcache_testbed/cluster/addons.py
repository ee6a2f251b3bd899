"""Applies what every cluster of ours has: DNS, the gateway, monitoring, volumes and the namespaces they live
in.

Idempotent: manifests are applied, Envoy Gateway's release is left alone when its chart is the one installed,
and what users of the testbed fill in (Alertmanager's receiver) is created when missing and never overwritten;
Prometheus' rules are theirs alone.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from string import Template
from typing import Any

from . import configs
from .build import Built
from .handle import Cluster
from .layout import Layout
from .pins import Pins
from .report import Reporter

GATEWAY_NAMESPACE = "infra"
GATEWAY = "gw"
ENVOY_NAMESPACE = "envoy-gateway-system"
ENGINES_NAMESPACE = "serving"
RELEASE = "eg"
DEFAULT_RECEIVER = "http://indexcache-operator.indexcache-system.svc:9443/alerts"


def render(layout: Layout, manifest: str, **values: str) -> str:
    """Return a manifest with its variables filled in.

    Raises:
        KeyError: it has a variable of no value.
    """
    return Template((layout.manifests / manifest).read_text()).substitute(values)


def volumes(built: Built) -> dict[str, Path]:
    """Return what engine pods mount, by the name of its volume."""
    return {"engine-env": built.engine, "models": built.models}


def install(cluster: Cluster, built: Built, pins: Pins, report: Reporter) -> None:
    """Install everything and wait until all of it is available."""
    layout = cluster.layout
    images = {name.upper().replace("-", "_") + "_IMAGE": image for name, image in pins.images.items()}
    values = {**images, "DNS_IP": configs.DNS_IP, "VOLUMES": str(layout.volumes)}

    def apply(*manifests: str) -> None:
        cluster.kubectl(
            "apply",
            "-f",
            "-",
            stdin="\n---\n".join(render(layout, manifest, **values) for manifest in manifests),
        )

    with report.step("namespaces, volumes, DNS and monitoring"):
        apply("namespaces.yaml")
        _create_defaults(cluster)
        apply("coredns.yaml", "volumes.yaml", "monitoring.yaml")
    with report.step("Envoy Gateway's chart"):
        _install_chart(cluster, built.chart)
    with report.step("gateway programmed"):
        apply("gateway.yaml")
        cluster.kubectl(
            "wait",
            "--for=condition=Programmed",
            f"gateway/{GATEWAY}",
            "-n",
            GATEWAY_NAMESPACE,
            "--timeout=120s",
        )
        _available(cluster, ENVOY_NAMESPACE)
    with report.step("DNS and monitoring available"):
        _available(cluster, "kube-system")
        _available(cluster, "monitoring")


def gateway_address(cluster: Cluster) -> str | None:
    """Return the gateway's address, which answers on port 80 inside the cluster's network; None before it has
    one.
    """
    gateway = cluster.get("gateway", GATEWAY, "-n", GATEWAY_NAMESPACE)
    addresses = gateway.get("status", {}).get("addresses", []) if gateway else []
    return addresses[0]["value"] if addresses else None


def configure_receiver(cluster: Cluster, *, url: str = DEFAULT_RECEIVER, token: str) -> None:
    """Tell Alertmanager where alerts go and with which bearer token, and wait until it runs with both.

    Args:
        cluster: the cluster.
        url: address of a webhook for Alertmanager's payload, version 4.
        token: what it sends as `Authorization: Bearer TOKEN`.
    """
    cluster.kubectl("apply", "-f", "-", stdin=render(cluster.layout, "alertmanager.yaml", RECEIVER_URL=url))
    _apply_secret(cluster, token)
    cluster.kubectl("rollout", "restart", "deployment/alertmanager", "-n", "monitoring")
    cluster.kubectl("rollout", "status", "deployment/alertmanager", "-n", "monitoring", "--timeout=60s")


def receiver_token(cluster: Cluster) -> str:
    """Return the bearer token that Alertmanager sends."""
    path = "go-template={{.data.token | base64decode}}"
    return cluster.kubectl("get", "secret", "alertmanager-receiver", "-n", "monitoring", "-o", path)


def _create_defaults(cluster: Cluster) -> None:
    if cluster.get("configmap", "alertmanager", "-n", "monitoring") is None:
        cluster.kubectl(
            "apply",
            "-f",
            "-",
            stdin=render(cluster.layout, "alertmanager.yaml", RECEIVER_URL=DEFAULT_RECEIVER),
        )
    if cluster.get("secret", "alertmanager-receiver", "-n", "monitoring") is None:
        _apply_secret(cluster, secrets.token_urlsafe(32))


def _apply_secret(cluster: Cluster, token: str) -> None:
    metadata = {"name": "alertmanager-receiver", "namespace": "monitoring"}
    _apply(
        cluster, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": token}}
    )


def _apply(cluster: Cluster, manifest: dict[str, Any]) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def _install_chart(cluster: Cluster, chart: Path) -> None:
    """Install the chart, unless its release is there: the directory's name holds the key of the chart."""
    wanted = f"testbed={chart.name}"
    there = cluster.run(
        [
            "helm",
            "list",
            "-n",
            ENVOY_NAMESPACE,
            "-q",
            "--deployed",
            "--filter",
            f"^{RELEASE}$",
            "--selector",
            wanted,
        ]
    )
    if RELEASE not in there.split():
        words: list[str | Path] = [
            "helm",
            "upgrade",
            "--install",
            RELEASE,
            chart,
            "-n",
            ENVOY_NAMESPACE,
            "--create-namespace",
            "--labels",
            wanted,
        ]
        cluster.run(words, timeout=300)


def _available(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl(
        "wait", "--for=condition=Available", "deployment", "--all", "-n", namespace, "--timeout=120s"
    )

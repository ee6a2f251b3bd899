"""Faults that tests inject into the network of a cluster.

A gateway cut off from its proxies is the treacherous one: Envoy Gateway goes on to report a new generation of
a route as accepted, while Envoy, which never hears of it, sends requests where the old one said. Only
counting at the backends tells.
"""

from __future__ import annotations

from .addons import ENVOY_NAMESPACE
from .errors import TestbedError
from .handle import Cluster

XDS_PORT = "18000"
PROXIES = "app.kubernetes.io/component=proxy"
COMMENT = "testbed-cut-gateway"
WITHIN = 30.0
"""Seconds for one command; a test that ends must not wait longer to see what is wrong."""


def cut_rules(pod_ips: list[str]) -> list[list[str]]:
    """Return iptables rules that drop, both ways, what passes between Envoy pods and the xDS port of their
    control plane.
    """
    comment = ["-m", "comment", "--comment", COMMENT]
    drop = [*comment, "-j", "DROP"]
    return [
        rule
        for ip in pod_ips
        for rule in (
            ["-s", f"{ip}/32", "-p", "tcp", "--dport", XDS_PORT, *drop],
            ["-d", f"{ip}/32", "-p", "tcp", "--sport", XDS_PORT, *drop],
        )
    ]


def cut_gateway(cluster: Cluster) -> None:
    """Cut the gateway's proxies off from its control plane, until `restore_gateway`. Traffic goes on by the
    last configuration.

    Raises:
        TestbedError: there is no proxy to cut off.
    """
    restore_gateway(cluster)
    pods = cluster.items("pods", "-n", ENVOY_NAMESPACE, "-l", PROXIES)
    addresses = [pod["status"]["podIP"] for pod in pods if pod["status"].get("podIP")]
    if not addresses:
        raise TestbedError(
            f"no proxy with an address found in {ENVOY_NAMESPACE} ({PROXIES}); is the gateway programmed?"
        )
    for rule in cut_rules(addresses):
        cluster.run(["iptables", "-w", "-I", "FORWARD", "1", *rule], timeout=WITHIN)


def restore_gateway(cluster: Cluster) -> None:
    """Undo `cut_gateway`; without effect if nothing is cut. Proxies connect again within seconds."""
    for line in cluster.run(["iptables", "-w", "-S", "FORWARD"], timeout=WITHIN).splitlines():
        if COMMENT in line:
            cluster.run(["iptables", "-w", "-D", *line.split()[1:]], timeout=WITHIN)


def is_cut(cluster: Cluster) -> bool:
    """Return whether `cut_gateway` is in force."""
    return COMMENT in cluster.run(["iptables", "-w", "-S", "FORWARD"], timeout=WITHIN)

"""Configuration of every component, as text and command lines. Pure: paths and versions in, text out.

Traps, each of which cost somebody an hour:
* No default route exists, so a process on the node reaches ClusterIPs only through a route to the bridge, and
  `kubectl logs` only if the API server goes to the node by address.
* containerd, kubelet and CNI write to fixed places of the host whatever their roots are:
  `PRIVATE_DIRECTORIES` are covered.
* kube-proxy may not set conntrack's limits in a network namespace that is not the first: both are set to 0,
  "leave alone".
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import yaml

from .layout import Layout

NODE = "node1"
NODE_IP = "10.88.0.1"
POD_CIDR = "10.88.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
SERVICE_IP = "10.96.0.1"
DNS_IP = "10.96.0.10"
BRIDGE = "testbed0"
API_SERVER = "https://127.0.0.1:6443"
APISERVER_NAMES = (
    "localhost",
    "127.0.0.1",
    NODE_IP,
    SERVICE_IP,
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
KUBELET_NAMES = (NODE, NODE_IP, "127.0.0.1")
PRIVATE_DIRECTORIES = (
    "/run/netns",
    "/run/containerd",
    "/var/log/pods",
    "/var/log/containers",
    "/var/lib/kubelet",
    "/var/lib/cni",
)
ETCD = "http://127.0.0.1:2379"


def containerd(layout: Layout, pause_image: str) -> str:
    """Return containerd's configuration (TOML, version 2). JSON strings are TOML strings."""
    state = layout.state
    text = json.dumps
    return f"""version = 2
root = {text(str(layout.containerd_root))}
state = {text(str(state / "run" / "containerd"))}
[grpc]
  address = {text(str(layout.containerd_socket))}
[plugins."io.containerd.internal.v1.opt"]
  path = {text(str(state / "opt"))}
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = {text(pause_image)}
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = {text(str(state / "cni" / "net.d"))}
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
"""


def cni(layout: Layout) -> str:
    """Return the configuration of the pod network: a bridge on this node. Pods' addresses start at 10.88.1.0;
    the node has the first of the range.
    """
    ranges = [[{"subnet": POD_CIDR, "rangeStart": "10.88.1.0", "rangeEnd": "10.88.4.250"}]]
    ipam = {
        "type": "host-local",
        "ranges": ranges,
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(layout.state / "cni" / "ipam"),
    }
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": ipam,
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}, {"type": "loopback"}]
    return json.dumps({"cniVersion": "1.0.0", "name": "testbed", "plugins": plugins}, indent=1)


def kubelet(layout: Layout) -> str:
    """Return the kubelet's configuration. It asks the API server who may see logs; nothing is evicted or
    collected on a shared disk.
    """
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(layout.pki / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(layout.pki / "kubelet-server.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": layout.cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "clusterDNS": [DNS_IP],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "enforceNodeAllocatable": [],
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"nodefs.available": "0%", "imagefs.available": "0%", "memory.available": "1Mi"},
        "rotateCertificates": False,
        # Mounted ConfigMaps and Secrets follow their objects within two seconds, not a minute.
        "syncFrequency": "2s",
        "podLogsDir": str(layout.state / "podlogs"),
        "volumePluginDir": str(layout.state / "kubelet-plugins"),
    }
    return yaml.safe_dump(config, sort_keys=False)


def kubeconfig(layout: Layout, client: str) -> str:
    """Return the access of one client, with its certificate inside."""

    def data(file: str) -> str:
        return base64.b64encode((layout.pki / file).read_bytes()).decode()

    cluster = {"server": API_SERVER, "certificate-authority-data": data("ca.crt")}
    user = {"client-certificate-data": data(f"{client}.crt"), "client-key-data": data(f"{client}.key")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": layout.name, "cluster": cluster}],
        "users": [{"name": client, "user": user}],
        "contexts": [{"name": layout.name, "context": {"cluster": layout.name, "user": client}}],
        "current-context": layout.name,
    }
    return yaml.safe_dump(config, sort_keys=False)


def first_components(layout: Layout, binaries: Path) -> dict[str, list[str]]:
    """Return command lines by name, of what waits for nothing."""
    pki = layout.pki
    return {
        "containerd": ["containerd", "-c", str(layout.state / "containerd.toml")],
        "etcd": [
            f"{binaries}/etcd",
            f"--data-dir={layout.state / 'etcd'}",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync",  # nothing here is meant to survive the machine
            "--log-level=warn",
        ],
        "kube-apiserver": [
            f"{binaries}/kube-apiserver",
            f"--etcd-servers={ETCD}",
            "--secure-port=6443",
            f"--advertise-address={NODE_IP}",
            f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            f"--kubelet-client-certificate={pki}/apiserver-to-kubelet.crt",
            f"--kubelet-client-key={pki}/apiserver-to-kubelet.key",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
        ],
    }


def other_components(layout: Layout, binaries: Path) -> dict[str, list[str]]:
    """Return command lines by name, of what waits for the API server."""
    pki = layout.pki

    def access(client: str) -> str:
        return f"--kubeconfig={layout.state / 'kubeconfig' / client}"

    return {
        "kube-controller-manager": [
            f"{binaries}/kube-controller-manager",
            access("controller-manager"),
            f"--service-account-private-key-file={pki}/sa.key",
            f"--root-ca-file={pki}/ca.crt",
            "--use-service-account-credentials",
            "--leader-elect=false",
        ],
        "kube-scheduler": [f"{binaries}/kube-scheduler", access("scheduler"), "--leader-elect=false"],
        "kubelet": [
            f"{binaries}/kubelet",
            f"--config={layout.state / 'kubelet.yaml'}",
            access("kubelet"),
            f"--root-dir={layout.state / 'kubelet'}",
            f"--hostname-override={NODE}",
            f"--node-ip={NODE_IP}",
        ],
        "kube-proxy": [
            f"{binaries}/kube-proxy",
            access("proxy"),
            f"--hostname-override={NODE}",
            f"--cluster-cidr={POD_CIDR}",
            "--proxy-mode=iptables",
            "--conntrack-max-per-core=0",
            "--conntrack-min=0",
        ],
    }


def plan(layout: Layout, binaries: Path) -> dict[str, Any]:
    """Return what the cluster's first process does: directories to cover, network to set up, components to
    start."""
    return {
        "directories": list(PRIVATE_DIRECTORIES),
        "commands": [
            ["ip", "link", "set", "lo", "up"],
            ["ip", "link", "add", BRIDGE, "type", "bridge"],
            ["ip", "address", "add", f"{NODE_IP}/16", "dev", BRIDGE],
            ["ip", "link", "set", BRIDGE, "up"],
            ["ip", "route", "add", SERVICE_CIDR, "dev", BRIDGE],
        ],
        "sysctls": {
            "/proc/sys/net/ipv4/ip_forward": "1",
            "/proc/sys/net/bridge/bridge-nf-call-iptables": "1",
        },
        "first": first_components(layout, binaries),
        "ready": {
            "url": f"{API_SERVER}/readyz",
            "ca": f"{layout.pki}/ca.crt",
            "crt": f"{layout.pki}/admin.crt",
            "key": f"{layout.pki}/admin.key",
        },
        "then": other_components(layout, binaries),
        "logs": str(layout.logs),
        "events": str(layout.events),
    }

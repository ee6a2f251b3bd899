"""Rendered configuration: what components are told, and what they are not told."""

from __future__ import annotations

import base64
import json
import tomllib
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID
from indexcache_testbed.cluster import addons, certs, configs
from indexcache_testbed.cluster.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(cache=tmp_path, name="unit")
    certs.write_all(
        layout.pki, node=configs.NODE, apiserver=configs.APISERVER_NAMES, kubelet=configs.KUBELET_NAMES
    )
    return layout


def certificate(layout: Layout, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((layout.pki / f"{name}.crt").read_bytes())


def test_the_kubelet_is_the_node_and_nothing_more(layout: Layout) -> None:
    subject = certificate(layout, "kubelet").subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:node1"
    assert [a.value for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["system:nodes"]


def test_only_the_administrator_is_a_master(layout: Layout) -> None:
    masters = [
        name for name, subject in certs.clients(configs.NODE).items() if "system:masters" in subject.groups
    ]
    assert masters == ["admin"]


def test_the_authority_signed_everything(layout: Layout) -> None:
    authority = certificate(layout, "ca")
    for name in (*certs.clients(configs.NODE), "apiserver", "kubelet-server"):
        certificate(layout, name).verify_directly_issued_by(authority)


def test_the_api_server_is_known_by_every_name_it_is_called(layout: Layout) -> None:
    names = (
        certificate(layout, "apiserver").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    )
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert addresses == {"127.0.0.1", configs.NODE_IP, configs.SERVICE_IP}
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)


def test_keys_are_for_their_owner_only(layout: Layout) -> None:
    assert all(key.stat().st_mode & 0o077 == 0 for key in layout.pki.glob("*.key"))


def test_a_kubeconfig_carries_its_own_certificate_and_the_authoritys(layout: Layout) -> None:
    config = yaml.safe_load(configs.kubeconfig(layout, "scheduler"))
    user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
    assert base64.b64decode(user["client-certificate-data"]) == (layout.pki / "scheduler.crt").read_bytes()
    assert base64.b64decode(cluster["certificate-authority-data"]) == (layout.pki / "ca.crt").read_bytes()
    assert "insecure-skip-tls-verify" not in cluster


def test_containerd_keeps_to_the_clusters_directory(layout: Layout) -> None:
    config = tomllib.loads(configs.containerd(layout, "localhost/pause:1"))
    assert config["root"] == str(layout.containerd_root)
    assert config["plugins"]["io.containerd.grpc.v1.cri"]["sandbox_image"] == "localhost/pause:1"
    assert config["plugins"]["io.containerd.internal.v1.opt"]["path"].startswith(str(layout.state))


def test_the_kubelet_lets_nobody_in_unasked(layout: Layout) -> None:
    config = yaml.safe_load(configs.kubelet(layout))
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["authorization"] == {"mode": "Webhook"}
    assert config["cgroupRoot"] == "/testbed-unit"


def test_pods_do_not_get_the_nodes_address(layout: Layout) -> None:
    bridge = json.loads(configs.cni(layout))["plugins"][0]
    assert bridge["ipam"]["ranges"][0][0]["rangeStart"] == "10.88.1.0"
    assert bridge["hairpinMode"] is True


def test_what_needs_the_api_server_starts_after_it(layout: Layout) -> None:
    plan = configs.plan(layout, Path("/bin"))
    assert set(plan["first"]) == {"containerd", "etcd", "kube-apiserver"}
    assert set(plan["then"]) == {"kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"}
    assert json.loads(json.dumps(plan)) == plan


def test_no_route_leads_out(layout: Layout) -> None:
    assert not any("default" in command for command in configs.plan(layout, Path("/bin"))["commands"])


def test_manifests_are_yaml_once_filled_in(layout: Layout) -> None:
    names = (
        "COREDNS_IMAGE",
        "ENVOY_IMAGE",
        "PROMETHEUS_IMAGE",
        "ALERTMANAGER_IMAGE",
        "DNS_IP",
        "VOLUMES",
        "RECEIVER_URL",
    )
    values = {name: f"value-of-{name.lower()}" for name in names}
    for manifest in sorted(path.name for path in layout.manifests.glob("*.yaml")):
        documents = list(yaml.safe_load_all(addons.render(layout, manifest, **values)))
        assert documents
        assert all(document["kind"] and document["metadata"]["name"] for document in documents), manifest


def test_a_variable_without_a_value_is_an_error(layout: Layout) -> None:
    with pytest.raises(KeyError, match="RECEIVER_URL"):
        addons.render(layout, "alertmanager.yaml")

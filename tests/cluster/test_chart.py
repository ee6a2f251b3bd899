"""Tests what the Helm chart renders: it is accepted, values are checked, alerts fire when they should."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from indexcache_operator import names
from indexcache_operator.kube import Kube, KubeError

from benchmarks.scale import MALLOC
from scripts.generate.crd import CRD_FILE
from tests.cluster.chart import DIGEST, PROMETHEUS_RULE, helm, path, rendered


@pytest.mark.parametrize(
    ("values", "operator", "runtime"),
    [
        ((), "indexcache-operator:0.1.0", "indexcache-runtime:0.1.0"),
        (("image.tag=a", "runtime.tag=b"), "indexcache-operator:a", "indexcache-runtime:b"),
        (
            ("image.tag=a", f"image.digest={DIGEST}", f"runtime.digest={DIGEST}"),
            f"indexcache-operator@{DIGEST}",
            f"indexcache-runtime@{DIGEST}",
        ),
    ],
)
def test_images_are_named_by_digest_else_by_tag(
    binaries: Path, values: tuple[str, ...], operator: str, runtime: str
) -> None:
    (found,) = (
        document["spec"]["template"]["spec"]["containers"][0]
        for document in rendered(binaries, *values)
        if document["kind"] == "Deployment"
    )
    env = {entry["name"]: entry.get("value") for entry in found["env"]}
    assert (found["image"], env["INDEXCACHE_RUNTIME_IMAGE"]) == (operator, runtime)
    assert env.items() >= MALLOC.items()  # the operator is measured as the chart runs it


@pytest.mark.parametrize(
    "values",
    [
        (),
        ("watchNamespaces={%s}",),
        (
            "networkPolicy.engineNamespaces={%s}",
            "webhook.tlsSecret=t",
            "webhook.token=x",
            "hub.endpoint=https://hub.example",
        ),
        (
            "webhook.existingSecret=mine",
            "controlKeys.existingSecret=keys",
            "networkPolicy.enabled=false",
            "alerts.configMap.enabled=false",
            "release.enabled=false",
        ),
    ],
)
async def test_what_it_renders_is_accepted(
    kube: Kube, namespace: str, binaries: Path, values: tuple[str, ...]
) -> None:
    documents = rendered(binaries, *(v.replace("%s", namespace) for v in values), namespace=namespace)
    assert {"Deployment", "Service", "ServiceAccount"} <= {d["kind"] for d in documents}
    for body in documents:
        await kube.apply(path(body), body, dry_run=True)


async def test_its_pods_pass_the_restricted_profile(kube: Kube, namespace: str, binaries: Path) -> None:
    await kube.patch(
        f"/api/v1/namespaces/{namespace}",
        {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
    )
    for body in rendered(binaries, namespace=namespace):
        if body["kind"] in ("Deployment", "Job"):
            spec = {**body["spec"]["template"]["spec"], "serviceAccountName": "default"}
            pod: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
            await kube.apply(names.object_path("api/v1", "pods", namespace, "p"), pod, dry_run=True)
    pod["spec"]["securityContext"] = {}
    with pytest.raises(KubeError, match="violates PodSecurity"):
        await kube.apply(names.object_path("api/v1", "pods", namespace, "p"), pod, dry_run=True)


def test_its_crd_is_the_generated_one_and_stays(binaries: Path) -> None:
    found = next(d for d in rendered(binaries) if d["kind"] == "CustomResourceDefinition")
    assert found["spec"] == yaml.safe_load(CRD_FILE.read_text())["spec"]
    assert found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("webhook.port=0", "webhook/port"),
        ("replicas=two", "replicas"),
        ("alerts.severity=", "alerts/severity"),
        ("image.pullPolicy=Sometimes", "image/pullPolicy"),
        ("hub.endpoint=ftp://x", "hub/endpoint"),
        ("runtime.digest=latest", "runtime/digest"),
        ("watchNamespaces={A_B}", "watchNamespaces/0"),
        ("typo=1", "typo"),
    ],
)
def test_values_are_checked_by_name(binaries: Path, value: str, words: str) -> None:
    done = helm(binaries, value)
    assert done.returncode != 0
    assert words in done.stderr


def rules(documents: list[dict[str, Any]]) -> dict[str, Any]:
    config_map = next(d for d in documents if d["kind"] == "ConfigMap")
    found: dict[str, Any] = yaml.safe_load(config_map["data"]["rules.yml"])
    return found


def test_rules_are_one_text_wherever_they_go(binaries: Path) -> None:
    documents = rendered(binaries, "alerts.labels.team=a", apis=(PROMETHEUS_RULE,))
    resource = next(d for d in documents if d["kind"] == "PrometheusRule")
    assert resource["spec"] == rules(documents)
    assert "log_limit" in resource["spec"]["groups"][0]["rules"][0]["expr"]
    assert resource["spec"]["groups"][0]["rules"][0]["labels"] == {"severity": "critical", "team": "a"}
    assert not [d for d in rendered(binaries) if d["kind"] == "PrometheusRule"]


def test_alerts_fire_when_they_should(binaries: Path, tmp_path: Path) -> None:
    config_map = next(d for d in rendered(binaries) if d["kind"] == "ConfigMap")
    (tmp_path / "rules.yml").write_text(config_map["data"]["rules.yml"])
    (tmp_path / "test.yml").write_text((Path(__file__).parent / "alerts.test.yaml").read_text())
    for words in (["check", "rules", "rules.yml"], ["test", "rules", "test.yml"]):
        done = subprocess.run(
            [str(binaries / "promtool"), *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

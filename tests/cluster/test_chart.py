"""The Helm chart: what it renders is accepted, values are checked, rights suffice and go no further, alerts
fire when they should.
"""

import re
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from indexcache_operator import control_keys, names
from indexcache_operator.act import events, finalizer, labels, workload
from indexcache_operator.act.control_secret import ControlSecret
from indexcache_operator.act.status import StatusWriter
from indexcache_operator.api.status import Status
from indexcache_operator.kube import Kube, KubeError
from indexcache_operator.leading.elector import LEASES, Elector
from indexcache_operator.mandate import Lead
from indexcache_operator.model import Event, SetLabels
from indexcache_operator.observe.hugging_face import HuggingFace
from indexcache_operator.observe.look import Observer, Sight
from indexcache_operator.workload.render import Owner, Runtime
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from scripts.generate.crd import CRD_FILE, ROOT
from tests.cluster import apiserver
from tests.credentials import CREDENTIALS

CHART = ROOT / "charts" / "indexcache-operator"
PROMETHEUS_RULE = "monitoring.coreos.com/v1/PrometheusRule"
APIS = {
    "NetworkPolicy": "apis/networking.k8s.io/v1",
    "Role": "apis/rbac.authorization.k8s.io/v1",
    "RoleBinding": "apis/rbac.authorization.k8s.io/v1",
    "ClusterRole": "apis/rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding": "apis/rbac.authorization.k8s.io/v1",
    "Deployment": "apis/apps/v1",
    "Job": "apis/batch/v1",
    "PodDisruptionBudget": "apis/policy/v1",
    "CustomResourceDefinition": "apis/apiextensions.k8s.io/v1",
}


DIGEST = "sha256:" + "0123456789abcdef" * 4


class HelmLoader(yaml.SafeLoader):
    """Reads what Helm writes: a number like 1e-06 is one, as in YAML 1.2 and to the API server's own
    parser.
    """


HelmLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+"), list("-+0123456789")
)


def helm(
    binaries: Path, *values: str, namespace: str = "system", apis: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    words = [
        str(binaries / "helm"),
        "template",
        "indexcache-operator",
        str(CHART),
        "--namespace",
        namespace,
        "--kube-version",
        "1.37",
    ]
    words += [w for v in values for w in ("--set", v)] + [w for a in apis for w in ("--api-versions", a)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def rendered(
    binaries: Path, *values: str, namespace: str = "system", apis: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    done = helm(binaries, *values, namespace=namespace, apis=apis)
    assert done.returncode == 0, done.stderr
    return [d for d in yaml.load_all(done.stdout, Loader=HelmLoader) if d]


def path(body: dict[str, Any]) -> str:
    kind = body["kind"].lower()
    plural = kind[:-1] + "ies" if kind.endswith("y") else kind + "s"
    return names.object_path(
        APIS.get(body["kind"], "api/v1"), plural, body["metadata"].get("namespace"), body["metadata"]["name"]
    )


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


@pytest.fixture(params=["cluster-wide", "namespaced"])
async def operator(
    kube: Kube, namespace: str, binaries: Path, server: apiserver.ApiServer, request: pytest.FixtureRequest
) -> AsyncIterator[Kube]:
    """Yield the API as the operator's service account may use it, with the chart's rights and no others."""
    values = (f"watchNamespaces={{{namespace}}}",) if request.param == "namespaced" else ()
    applied = [body for body in rendered(binaries, *values, namespace=namespace) if "Role" in body["kind"]]
    for body in applied:
        await kube.apply(path(body), body)
    configuration = Configuration()
    await config.load_kube_config(config_file=str(server.kubeconfig), client_configuration=configuration)
    async with ApiClient(configuration=configuration) as client:
        client.default_headers["Impersonate-User"] = f"system:serviceaccount:{namespace}:indexcache-operator"
        yield Kube(client)
    for body in applied:
        await kube.delete(path(body))


async def watched(server: apiserver.ApiServer, namespace: str) -> None:
    """Watch rollouts as Kopf does, from its operator's account."""
    headers = {
        "Authorization": f"Bearer {apiserver.TOKEN}",
        "Impersonate-User": f"system:serviceaccount:{namespace}:indexcache-operator",
    }
    url = f"{server.url}{names.rollouts_path(namespace)}?watch=true&timeoutSeconds=1"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers, ssl=False) as answer:
        assert answer.status == 200, await answer.text()


async def elected(operator: Kube, namespace: str) -> None:
    """Lead by the Lease that the chart names, as long as it takes to renew it once, and give it up."""
    lead = Lead()
    elector = Elector(
        kube=operator,
        namespace=namespace,
        name="indexcache-operator",
        identity="a",
        lead=lead,
        namespaces=(namespace,),
    )
    for _ in range(2):
        await elector._step()
    assert lead.mandate() is not None
    await elector.give_up()
    path = names.object_path(LEASES, "leases", namespace, "indexcache-operator")
    assert "holderIdentity" not in (await operator.get(path))["spec"]


async def test_its_rights_suffice(
    kube: Kube, operator: Kube, namespace: str, server: apiserver.ApiServer
) -> None:
    """A rollout's whole life as the operator's account: every call that the operator makes."""
    route = {
        "metadata": {"name": "c"},
        "spec": {"rules": [{"name": "g", "backendRefs": [{"name": "r-baseline", "port": 1}]}]},
    }
    await kube.create(
        names.object_path(*names.HTTP_ROUTES, namespace),
        {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", **route},
    )
    spec = {
        "engine": {"image": "i", "model": "m"},
        "indexCache": {"pattern": "FS"},
        "traffic": {"httpRoute": {"name": "c", "rule": "g"}},
        "guardrails": {"recall": {"min": 0.5}, "quality": {"probes": {"configMap": "probes"}}},
    }
    body = {
        "apiVersion": "indexcache.dev/v1alpha1",
        "kind": "IndexCacheRollout",
        "metadata": {"name": "r"},
        "spec": spec,
    }
    await kube.create(names.rollouts_path(namespace), body)
    async with aiohttp.ClientSession() as session:
        observer = Observer(
            kube=operator,
            session=session,
            runtime=Runtime(image="x:1"),
            credentials=CREDENTIALS,
            hugging_face=HuggingFace(session, None),
        )
        sight = Sight()

        async def look() -> Any:
            found = await observer.look(namespace, "r", sight)
            assert found is not None
            return found

        await finalizer.hold(operator, (await look()).rollout.raw)
        found = await look()
        owner = Owner(name="r", namespace=namespace, uid=found.rollout.uid)
        uid = await workload.ensure(operator, found.workload, owner)
        await ControlSecret().make(operator, namespace, "r", found.control, uid)
        pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "engine", "image": "i"}]}}
        pods = names.object_path("api/v1", "pods", namespace)
        seen = (await kube.create(pods, pod))["metadata"]
        await kube.patch(f"{pods}/p", {"metadata": {"annotations": {"a": "b"}}})  # it is listed anew then
        await labels.put(operator, namespace, SetLabels(pod="p", baseline=True, canary=False), seen)
        found = await look()
        assert found.observation.workload_current
        await StatusWriter().write(operator, found.rollout.raw, Status(epoch=1))
        event = Event(type="Normal", reason="R", message="m")
        await events.emit(operator, namespace=namespace, name="r", uid=found.rollout.uid, event=event)
        routes = names.object_path(*names.HTTP_ROUTES, namespace, "c")
        await operator.patch(routes, {"metadata": {"labels": {"a": "b"}}})
        await watched(server, namespace)
        assert await control_keys.create(operator, (namespace, "control-keys"), {"1": b"k" * 32})
        await elected(operator, namespace)
        await workload.release(operator, owner)
        assert not (await look()).observation.unread
        await workload.delete(operator, owner)
        await finalizer.let_go(operator, (await look()).rollout.raw)


@pytest.mark.parametrize(
    "call",
    [
        "read a secret",
        "list secrets",
        "patch a secret",
        "delete a secret",
        "other namespaces",
        "edit a route's status",
        "delete a rollout",
        "read nodes",
        "take another lease",
        "list leases",
    ],
)
async def test_its_rights_go_no_further(
    kube: Kube, operator: Kube, namespace: str, call: str, request: pytest.FixtureRequest
) -> None:
    namespaced = "namespaced" in request.node.name
    if call == "other namespaces" and not namespaced:
        assert await operator.select(names.rollouts_path()) is not None
        return
    secret = names.object_path("api/v1", "secrets", namespace, "indexcache-operator-control-keys")
    lease = names.object_path(LEASES, "leases", namespace, "another")
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "read a secret": lambda: operator.get(secret),
        "patch a secret": lambda: operator.patch(secret, {"metadata": {"labels": {"a": "b"}}}),
        "delete a secret": lambda: operator.delete(secret),
        "list secrets": lambda: operator.select(names.object_path("api/v1", "secrets", namespace)),
        "other namespaces": lambda: operator.select(names.rollouts_path("default")),
        "edit a route's status": lambda: operator.patch(
            names.object_path(*names.HTTP_ROUTES, namespace, "c", "status"), {"status": {}}
        ),
        "delete a rollout": lambda: operator.delete(names.rollouts_path(namespace, "r")),
        "read nodes": lambda: operator.select("/api/v1/nodes"),
        "take another lease": lambda: operator.replace(lease, {"metadata": {"name": "another"}}),
        "list leases": lambda: operator.select(names.object_path(LEASES, "leases", namespace)),
    }
    with pytest.raises(KubeError) as caught:
        await calls[call]()
    assert caught.value.status == 403

"""Tests that the rights which the Helm chart grants suffice, and go no further."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
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

from tests.cluster import apiserver
from tests.cluster.chart import path, rendered
from tests.credentials import CREDENTIALS


@pytest.fixture(params=["cluster-wide", "namespaced"])
async def operator(
    kube: Kube, namespace: str, binaries: Path, server: apiserver.ApiServer, request: pytest.FixtureRequest
) -> AsyncIterator[Kube]:
    """Yield the API as the operator's service account may use it, with the chart's rights and no others."""
    values = (f"watchNamespaces={{{namespace}}}",) if request.param == "namespaced" else ()
    applied = [body for body in rendered(binaries, *values, namespace=namespace) if "Role" in body["kind"]]
    for body in applied:
        await kube.apply(path(body), body)
    async with apiserver.client(server.kubeconfig) as client:
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

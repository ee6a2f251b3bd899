"""Alertmanager's webhook before a real API server: what is answered, and what was written by then."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from indexcache_operator import names
from indexcache_operator.alerts import CAUSE, Receiver
from indexcache_operator.kube import Conflict, Kube, KubeError
from indexcache_operator.webhook import MAX_BODY, application

TOKEN = "webhook-token"
ROLLOUT: dict[str, Any] = {
    "apiVersion": "indexcache.dev/v1alpha1",
    "kind": "IndexCacheRollout",
    "metadata": {"name": "r"},
    "spec": {"engine": {"image": "i", "model": "m"}, "indexCache": {"pattern": "FS"}},
}


class Edge:
    """A rollout in mid-canary, and the webhook before it."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube, self.namespace = kube, namespace
        self.woken: list[str] = []
        self.uid = ""
        self.failing: list[KubeError] = []
        self.reachable = True
        self.lost = ""

    def path(self, subresource: str = "") -> str:
        return names.rollouts_path(self.namespace, "r", subresource)

    async def begin(self) -> None:
        made = await self.kube.create(names.rollouts_path(self.namespace), ROLLOUT)
        self.uid = made["metadata"]["uid"]
        await self.write_status(phase="Canary", revision="rev1", epoch=7)

    async def write_status(self, **status: Any) -> None:
        raw = await self.kube.get(self.path())
        await self.kube.replace(self.path("status"), {**raw, "status": {**raw.get("status", {}), **status}})

    async def fallback(self) -> dict[str, Any] | None:
        status: dict[str, Any] = (await self.kube.get(self.path())).get("status", {})
        return status.get("fallback")

    def alert(self, status: str = "firing", **labels: str) -> dict[str, Any]:
        given = {
            "alertname": "A",
            "namespace": self.namespace,
            "rollout": "r",
            "uid": self.uid,
            "revision": "rev1",
            **labels,
        }
        return {
            "status": status,
            "labels": {k: v for k, v in given.items() if v},
            "annotations": {"summary": "recall is low"},
            "fingerprint": "f",
        }

    async def is_reachable(self) -> bool:
        return self.reachable

    # What the receiver sees of the API: the real one, but for the failures that a test injects.
    async def get(self, path: str) -> dict[str, Any]:
        if path == self.lost:
            raise KubeError(500, "InternalError", "this object is unwell")
        return await self.kube.get(path)

    async def replace(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if self.failing:
            raise self.failing.pop(0)
        return await self.kube.replace(path, body)


@pytest.fixture
async def edge(kube: Kube, namespace: str) -> Edge:
    edge = Edge(kube, namespace)
    await edge.begin()
    return edge


@pytest.fixture
async def client(edge: Edge) -> AsyncIterator[TestClient[Any, Any]]:
    receiver = Receiver(kube=edge, wake=edge.woken.append)  # type: ignore[arg-type]
    app = application(receiver, token=lambda: TOKEN, reachable=edge.is_reachable)
    async with TestClient(TestServer(app)) as client:
        yield client


async def post(
    client: TestClient[Any, Any], *alerts: Any, token: str = TOKEN, **body: Any
) -> tuple[int, Any]:
    payload = {
        "version": "4",
        "receiver": "operator",
        "groupKey": "g",
        "truncatedAlerts": 0,
        "alerts": list(alerts),
        **body,
    }
    async with client.post("/alerts", json=payload, headers={"Authorization": f"Bearer {token}"}) as answer:
        return answer.status, (
            await answer.json() if answer.content_type == "application/json" else await answer.text()
        )


async def test_an_alert_that_fires_is_persisted_before_it_is_answered(
    edge: Edge, client: TestClient[Any, Any]
) -> None:
    assert await post(client, edge.alert()) == (200, {"outcomes": ["rolled_back"]})
    found = await edge.fallback()
    assert found is not None
    assert (found["cause"], found["revision"]) == (CAUSE, "rev1")
    assert "recall is low" in found["message"]
    assert edge.woken == [edge.uid]
    status = (await edge.kube.get(edge.path()))["status"]
    assert (status["phase"], status["epoch"]) == ("Canary", 7)


async def test_again_is_no_second_intent(edge: Edge, client: TestClient[Any, Any]) -> None:
    await post(client, edge.alert())
    first = await edge.fallback()
    assert await post(client, edge.alert(), edge.alert()) == (200, {"outcomes": ["already_falling_back"] * 2})
    assert await edge.fallback() == first


@pytest.mark.parametrize(
    ("status", "labels", "outcome"),
    [
        ("resolved", {}, "resolved"),
        ("firing", {"revision": "rev0"}, "other_revision"),
        ("firing", {"uid": "another"}, "other_uid"),
        ("firing", {"rollout": "gone"}, "unknown_rollout"),
        ("firing", {"revision": ""}, "unbound"),
        ("firing", {"uid": ""}, "unbound"),
    ],
)
async def test_what_is_not_about_this_revision_does_nothing(
    edge: Edge, client: TestClient[Any, Any], status: str, labels: dict[str, str], outcome: str
) -> None:
    assert await post(client, edge.alert(status, **labels)) == (200, {"outcomes": [outcome]})
    assert await edge.fallback() is None
    assert edge.woken == []


@pytest.mark.parametrize("phase", ["Pending", "Checking", "Shadowing", "FallingBack", "FellBack", "Failed"])
async def test_where_nothing_is_exposed_nothing_is_done(
    edge: Edge, client: TestClient[Any, Any], phase: str
) -> None:
    await edge.write_status(phase=phase)
    assert await post(client, edge.alert()) == (200, {"outcomes": ["nothing_exposed"]})
    assert await edge.fallback() is None


async def test_a_rollout_may_ignore_alerts(edge: Edge, client: TestClient[Any, Any]) -> None:
    await edge.kube.patch(edge.path(), {"spec": {"alerts": {"onFiring": "Ignore"}}})
    assert await post(client, edge.alert()) == (200, {"outcomes": ["ignored"]})
    assert await edge.fallback() is None


async def test_one_of_a_group_is_enough(edge: Edge, client: TestClient[Any, Any]) -> None:
    status, body = await post(client, edge.alert(revision="rev0"), edge.alert("resolved"), edge.alert())
    assert (status, body["outcomes"]) == (200, ["other_revision", "resolved", "rolled_back"])
    assert await edge.fallback() is not None


async def test_somebody_who_wrote_in_between_is_no_obstacle(edge: Edge, client: TestClient[Any, Any]) -> None:
    edge.failing = [Conflict(409, "Conflict", "the object has been modified")] * 3
    assert (await post(client, edge.alert()))[0] == 200
    assert await edge.fallback() is not None


async def test_what_cannot_be_persisted_is_asked_for_again(edge: Edge, client: TestClient[Any, Any]) -> None:
    edge.failing = [KubeError(500, "InternalError", "etcd is away")]
    assert (await post(client, edge.alert()))[0] == 503
    assert await edge.fallback() is None
    assert edge.woken == []
    assert (await post(client, edge.alert()))[0] == 200
    assert await edge.fallback() is not None


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x"])
async def test_a_wrong_token_is_turned_away(edge: Edge, client: TestClient[Any, Any], token: str) -> None:
    assert (await post(client, edge.alert(), token=token))[0] == 401
    assert await edge.fallback() is None


@pytest.mark.parametrize(
    "change",
    [
        {"version": "3"},
        {"alerts": "x"},
        {"alerts": [{"status": "firing"}]},
        {"alerts": [{"status": "odd", "labels": {}}]},
    ],
)
async def test_what_is_no_payload_is_refused_by_name(
    client: TestClient[Any, Any], change: dict[str, Any]
) -> None:
    status, text = await post(client, **change)
    assert status == 422
    assert next(iter(change)) in text


async def test_a_body_too_large_is_not_read(client: TestClient[Any, Any]) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with client.post("/alerts", data=b" " * (MAX_BODY + 1), headers=headers) as answer:
        assert answer.status == 413


async def test_tells_its_health_and_its_numbers(edge: Edge, client: TestClient[Any, Any]) -> None:
    async with client.get("/healthz") as answer:
        assert answer.status == 200
    async with client.get("/readyz") as answer:
        assert answer.status == 200
    edge.reachable = False
    async with client.get("/readyz") as answer:
        assert (answer.status, await answer.text()) == (503, "the API server doesn't answer\n")
    async with client.get("/healthz") as answer:
        assert answer.status == 200
    await post(client, edge.alert(revision="rev0"))
    async with client.get("/metrics") as answer:
        assert 'indexcache_operator_alerts_total{outcome="other_revision"}' in await answer.text()


async def test_a_rollback_by_alert_is_counted_once(edge: Edge, client: TestClient[Any, Any]) -> None:
    await post(client, edge.alert(), edge.alert())
    async with client.get("/metrics") as answer:
        labels = f'cause="{CAUSE}",namespace="{edge.namespace}",rollout="r"'
        expected = f"indexcache_operator_fallbacks_total{{{labels}}} 1.0"
        assert expected in await answer.text()


ODD: list[Any] = [
    None,
    7,
    "x",
    [],
    {},
    {"status": "firing"},
    {"status": "firing", "labels": {"namespace": 7}},
    {"status": "odd", "labels": {}},
]


@pytest.mark.parametrize("odd", ODD, ids=str)
async def test_an_alert_that_is_none_keeps_no_other_from_being_served(
    edge: Edge, client: TestClient[Any, Any], odd: Any
) -> None:
    status, told = await post(client, odd, edge.alert(), odd)
    assert status == 200
    first, served, last = told["outcomes"]
    assert served == "rolled_back"
    assert first.startswith("malformed: alerts.0.")
    assert last.startswith("malformed: alerts.2.")
    assert await edge.fallback() is not None


async def test_an_alert_that_cant_be_persisted_keeps_no_other_from_being_served(
    edge: Edge, client: TestClient[Any, Any]
) -> None:
    lost = edge.alert(rollout="lost")
    edge.lost = names.rollouts_path(edge.namespace, "lost")
    assert (await post(client, lost, edge.alert()))[0] == 503
    assert await edge.fallback() is not None


@pytest.mark.parametrize("token", ["", None])
async def test_without_a_token_alerts_come_again(edge: Edge, token: str | None) -> None:
    def read() -> str:
        if token is None:
            raise PermissionError("token")
        return token

    receiver = Receiver(kube=edge, wake=edge.woken.append)  # type: ignore[arg-type]
    app = application(receiver, token=read, reachable=edge.is_reachable)
    async with TestClient(TestServer(app)) as client:
        assert (await post(client, edge.alert()))[0] == 503
        async with client.get("/readyz") as answer:
            assert answer.status == 503
            assert "token can't be read" in await answer.text()
    assert await edge.fallback() is None

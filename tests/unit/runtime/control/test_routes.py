"""The control port's edge, as a caller sees it."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from indexcache_core.contract import MAX_BODY, Mode, Reason, Refused, Site, State
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.routes import app
from indexcache_runtime.engine import Capabilities

TOKEN = "t0ken"
SITES = tuple(Site(index=i, layer=i, domain="tokens", k=64) for i in range(4))


@pytest.fixture
def control() -> EngineControl:
    return EngineControl(
        Capabilities("DeepseekV32ForCausalLM", SITES), engine_version="0.32.0", clock=lambda: 1000.0
    )


@pytest.fixture
async def client(control: EngineControl) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app(control, TOKEN))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://engine", headers={"Authorization": f"Bearer {TOKEN}"}
    ) as c:
        yield c


def body(control: EngineControl, epoch: int = 1, **flags: Any) -> dict[str, Any]:
    wanted = {"mode": "on", "pattern": "FSFS", **flags}
    return {"incarnation": control.incarnation, "epoch": epoch, "flags": wanted, "permit_seconds": 30}


def refused(response: httpx.Response, status: int) -> Refused:
    assert response.status_code == status, response.text
    return Refused.model_validate_json(response.text)


async def test_get_put_kill(client: httpx.AsyncClient, control: EngineControl) -> None:
    before = State.model_validate_json((await client.get("/v1/state")).text)
    assert (before.mode, before.sites, before.supported) == (Mode.OFF, SITES, True)
    on = State.model_validate_json((await client.put("/v1/flags", json=body(control))).text)
    assert (on.mode, on.epoch, on.permit_remaining_seconds) == (Mode.ON, 1, 30.0)
    killed = State.model_validate_json((await client.post("/v1/kill", json={"reason": "alert"})).text)
    assert (killed.mode, killed.reason, killed.message) == (Mode.TRIPPED, Reason.KILLED, "alert")


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}", f"bearer {TOKEN}"]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/state"), ("PUT", "/v1/flags"), ("POST", "/v1/kill"), ("GET", "/"), ("GET", "/metrics")],
)
async def test_nothing_without_the_token(
    control: EngineControl, given: str | None, method: str, path: str
) -> None:
    headers = {} if given is None else {"Authorization": given}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app(control, TOKEN)), base_url="http://engine", headers=headers
    ) as c:
        assert refused(await c.request(method, path), 401).code == "Unauthorized"
    assert control.state().mode is Mode.OFF


async def test_an_empty_token_is_refused_at_start(control: EngineControl) -> None:
    with pytest.raises(ValueError, match="empty"):
        app(control, "")


async def test_other_paths_and_methods(client: httpx.AsyncClient) -> None:
    for method, path in [("GET", "/"), ("GET", "/v1/flags"), ("DELETE", "/v1/state"), ("GET", "/v1/state/x")]:
        assert refused(await client.request(method, path), 404).code == "NotFound"


async def test_conflicts(client: httpx.AsyncClient, control: EngineControl) -> None:
    assert (await client.put("/v1/flags", json=body(control, 5))).status_code == 200
    for wrong, code, field in [
        ({**body(control, 6), "incarnation": "other"}, "OtherIncarnation", "incarnation"),
        (body(control, 4), "OldEpoch", "epoch"),
        (body(control, 5, sample_rows=1), "EpochConflict", "epoch"),
    ]:
        r = refused(await client.put("/v1/flags", json=wrong), 409)
        assert (r.code, r.field) == (code, field)
    assert control.state().epoch == 5


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"epoch": 0}, "epoch"),
        ({"epoch": "x"}, "epoch"),
        ({"surprise": 1}, "surprise"),
        ({"flags": {"mode": "tripped"}}, "flags.mode"),
        ({"flags": {"mode": "on", "pattern": "SF"}}, "flags.pattern"),
        ({"flags": {"mode": "on", "pattern": "FXFX"}}, "flags.pattern"),
        ({"flags": {"mode": "on"}}, "flags.pattern"),
        ({"flags": {"mode": "on", "pattern": "FSFS", "sample_rows": -1}}, "flags.sample_rows"),
        ({"flags": {"mode": "on", "pattern": "FS"}}, "flags.pattern"),
        ({"permit_seconds": None}, "permit_seconds"),
        ({"permit_seconds": 0}, "permit_seconds"),
    ],
)
async def test_bad_content_is_refused_by_its_field(
    client: httpx.AsyncClient, control: EngineControl, change: dict[str, Any], field: str
) -> None:
    r = refused(await client.put("/v1/flags", json={**body(control), **change}), 422)
    assert r.field == field
    assert r.message
    assert control.state().epoch == 0


@pytest.mark.parametrize("text", ["", "{", "[]", "nonsense", '{"incarnation": "x"', "\x00"])
async def test_no_json_is_refused(client: httpx.AsyncClient, control: EngineControl, text: str) -> None:
    r = refused(await client.put("/v1/flags", content=text), 422)
    assert (r.code, r.field) == ("Invalid", "body")


@pytest.mark.parametrize(("method", "path"), [("PUT", "/v1/flags"), ("POST", "/v1/kill")])
async def test_a_large_body_is_refused_by_its_declared_length(
    client: httpx.AsyncClient, control: EngineControl, method: str, path: str
) -> None:
    r = refused(await client.request(method, path, content=b" " * 10_000_000), 413)
    assert (r.code, r.field) == ("TooLarge", "body")
    assert control.state().mode is Mode.OFF


async def test_declared_length_is_refused_unread(control: EngineControl) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {TOKEN}".encode()), (b"content-length", b"10000000")]
    scope = {
        "type": "http",
        "method": "PUT",
        "path": "/v1/flags",
        "headers": headers,
        "query_string": b"",
        "http_version": "1.1",
    }
    await app(control, TOKEN)(scope, receive, send)
    assert sent[0]["status"] == 413


async def test_a_body_of_unknown_length_is_cut_off(control: EngineControl) -> None:
    chunks: Iterator[int] = iter(range(10_000))
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        next(chunks)
        return {"type": "http.request", "body": b" " * 1024, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {TOKEN}".encode())]
    scope = {
        "type": "http",
        "method": "PUT",
        "path": "/v1/flags",
        "headers": headers,
        "query_string": b"",
        "http_version": "1.1",
    }
    await app(control, TOKEN)(scope, receive, send)
    assert sent[0]["status"] == 413
    assert next(chunks) <= MAX_BODY // 1024 + 1


@pytest.mark.parametrize("text", ["", "{", '{"reason": 3}', '{"reason": "' + "x" * 600 + '"}'])
async def test_kill_counts_whatever_its_body(
    client: httpx.AsyncClient, control: EngineControl, text: str
) -> None:
    assert (await client.post("/v1/kill", content=text)).status_code == 200
    assert control.state().reason is Reason.KILLED


async def test_an_unsupported_engine_answers_and_says_why() -> None:
    control = EngineControl(Capabilities("LlamaForCausalLM", reasons=("model: no indexers",)))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app(control, TOKEN)), base_url="http://engine", headers=headers
    ) as c:
        state = State.model_validate_json((await c.get("/v1/state")).text)
        assert (state.supported, state.reasons) == (False, ("model: no indexers",))
        r = refused(await c.put("/v1/flags", json=body(control)), 422)
        assert (r.code, r.field) == ("Unsupported", "flags.mode")
        assert (await c.post("/v1/kill")).status_code == 200

"""The control port's edge, as a caller sees it: over a real socket."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from indexcache_core.contract import MAX_BODY, Mode, Reason, Refused, Site, State
from indexcache_runtime.access import Credentials
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.server import serve
from indexcache_runtime.engine import Capabilities

TOKEN = "t0ken"
SITES = tuple(Site(index=i, layer=i, domain="tokens", k=64) for i in range(4))


@pytest.fixture
def control() -> EngineControl:
    return EngineControl(
        Capabilities("DeepseekV32ForCausalLM", SITES), engine_version="0.32.0", clock=lambda: 1000.0
    )


@pytest.fixture
def address(control: EngineControl) -> Iterator[str]:
    server, number = serve(control, Credentials(TOKEN), 0)
    yield f"http://127.0.0.1:{number}"
    server.stop()


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {TOKEN}"}) as c:
        yield c


def body(control: EngineControl, epoch: int = 1, **flags: Any) -> dict[str, Any]:
    wanted = {"mode": "on", "pattern": "FSFS", **flags}
    return {"incarnation": control.incarnation, "epoch": epoch, "flags": wanted, "permit_seconds": 30}


def refused(response: httpx.Response, status: int) -> Refused:
    assert response.status_code == status, response.text
    return Refused.model_validate_json(response.text)


def test_get_put_kill(client: httpx.Client, control: EngineControl) -> None:
    before = State.model_validate_json(client.get("/v1/state").text)
    assert (before.mode, before.sites, before.supported) == (Mode.OFF, SITES, True)
    on = State.model_validate_json(client.put("/v1/flags", json=body(control)).text)
    assert (on.mode, on.epoch, on.permit_remaining_seconds) == (Mode.ON, 1, 30.0)
    killed = State.model_validate_json(client.post("/v1/kill", json={"reason": "alert"}).text)
    assert (killed.mode, killed.reason, killed.message) == (Mode.TRIPPED, Reason.KILLED, "alert")


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}", f"bearer {TOKEN}"]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/state"), ("PUT", "/v1/flags"), ("POST", "/v1/kill"), ("GET", "/"), ("GET", "/metrics")],
)
def test_nothing_without_the_token(
    control: EngineControl, address: str, given: str | None, method: str, path: str
) -> None:
    headers = {} if given is None else {"Authorization": given}
    assert refused(httpx.request(method, f"{address}{path}", headers=headers), 401).code == "Unauthorized"
    assert control.state().mode is Mode.OFF


def test_an_empty_token_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="empty"):
        Credentials("")


def test_other_paths_and_methods(client: httpx.Client) -> None:
    for method, path in [("GET", "/"), ("GET", "/v1/flags"), ("DELETE", "/v1/state"), ("GET", "/v1/state/x")]:
        assert refused(client.request(method, path), 404).code == "NotFound"


def test_conflicts(client: httpx.Client, control: EngineControl) -> None:
    assert client.put("/v1/flags", json=body(control, 5)).status_code == 200
    for wrong, code, field in [
        ({**body(control, 6), "incarnation": "other"}, "OtherIncarnation", "incarnation"),
        (body(control, 4), "OldEpoch", "epoch"),
        (body(control, 5, sample_rows=1), "EpochConflict", "epoch"),
    ]:
        r = refused(client.put("/v1/flags", json=wrong), 409)
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
def test_bad_content_is_refused_by_its_field(
    client: httpx.Client, control: EngineControl, change: dict[str, Any], field: str
) -> None:
    r = refused(client.put("/v1/flags", json={**body(control), **change}), 422)
    assert r.field == field
    assert r.message
    assert control.state().epoch == 0


@pytest.mark.parametrize("text", ["", "{", "[]", "nonsense", '{"incarnation": "x"', "\x00"])
def test_no_json_is_refused(client: httpx.Client, control: EngineControl, text: str) -> None:
    r = refused(client.put("/v1/flags", content=text), 422)
    assert (r.code, r.field) == ("Invalid", "body")


def test_a_large_body_is_refused_by_its_declared_length(client: httpx.Client, control: EngineControl) -> None:
    r = refused(client.put("/v1/flags", content=b" " * 10_000_000), 413)
    assert (r.code, r.field) == ("TooLarge", "body")
    assert control.state().mode is Mode.OFF


def test_a_body_of_unknown_length_is_cut_off(client: httpx.Client, control: EngineControl) -> None:
    r = refused(client.put("/v1/flags", content=iter([b" " * 1024] * (MAX_BODY // 1024 + 1))), 413)
    assert (r.code, r.field) == ("TooLarge", "body")


@pytest.mark.parametrize("text", ["", "{", '{"reason": 3}', '{"reason": "' + "x" * 600 + '"}'])
def test_kill_counts_whatever_its_body(client: httpx.Client, control: EngineControl, text: str) -> None:
    assert client.post("/v1/kill", content=text).status_code == 200
    assert control.state().reason is Reason.KILLED


@pytest.mark.parametrize(
    "content", [b" " * 10_000_000, [b" " * 1024] * (MAX_BODY // 1024 + 1)], ids=["declared", "chunked"]
)
def test_kill_counts_whatever_its_bodys_size(client: httpx.Client, content: bytes | list[bytes]) -> None:
    answer = client.post("/v1/kill", content=content if isinstance(content, bytes) else iter(content))
    killed = State.model_validate_json(answer.raise_for_status().text)
    assert killed.reason is Reason.KILLED
    assert "at most 65536 are read" in killed.message


def test_expect_100_continue_is_answered(client: httpx.Client, control: EngineControl) -> None:
    answer = client.put("/v1/flags", json=body(control), headers={"Expect": "100-continue"})
    assert State.model_validate_json(answer.raise_for_status().text).epoch == 1


def test_an_unsupported_engine_answers_and_says_why() -> None:
    control = EngineControl(Capabilities("LlamaForCausalLM", reasons=("model: no indexers",)))
    server, number = serve(control, Credentials(TOKEN), 0)
    with httpx.Client(
        base_url=f"http://127.0.0.1:{number}", headers={"Authorization": f"Bearer {TOKEN}"}
    ) as c:
        state = State.model_validate_json(c.get("/v1/state").text)
        assert (state.supported, state.reasons) == (False, ("model: no indexers",))
        r = refused(c.put("/v1/flags", json=body(control)), 422)
        assert (r.code, r.field) == ("Unsupported", "flags.mode")
        assert c.post("/v1/kill").status_code == 200
    server.stop()


def test_a_state_that_is_known_is_answered_by_its_tag_alone(
    client: httpx.Client, control: EngineControl
) -> None:
    first = client.get("/v1/state")
    tag = first.headers["etag"]
    assert tag.startswith(f'"{control.incarnation}-')
    again = client.get("/v1/state", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    client.put("/v1/flags", json=body(control))
    changed = client.get("/v1/state", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert State.model_validate_json(changed.text).mode is Mode.ON
    assert changed.headers["etag"] != tag


@pytest.mark.parametrize("asked", ["*", "W/{}", '"other"', "{}, {}", '"', "", '""'])
def test_any_other_question_is_answered_in_full(client: httpx.Client, asked: str) -> None:
    tag = client.get("/v1/state").headers["etag"]
    found = client.get("/v1/state", headers={"If-None-Match": asked.replace("{}", tag)})
    assert found.status_code == 200
    assert State.model_validate_json(found.text).supported


def test_a_stranger_learns_no_tag(address: str, client: httpx.Client) -> None:
    tag = client.get("/v1/state").headers["etag"]
    found = httpx.get(f"{address}/v1/state", headers={"If-None-Match": tag})
    assert (found.status_code, "etag" in found.headers) == (401, False)

"""The runtime in `vllm serve`, delivered as a pod gets it.

One server for the whole file, with two ranks, each a process of its own, so that plans and measurements cross
processes.
"""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import torch
from indexcache_core.contract import MAX_BODY, Mode, Reason, Refused
from indexcache_core.probe_ids import probe_request_id
from indexcache_runtime.vllm.engine_core.checkpoint import fingerprint

from tests.engine.served import TOKEN, WHO, Server, serving, until

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    from dsa_cpu import random_model

    folder = tmp_path_factory.mktemp("served")
    random_model.write(folder / "model", "DeepseekV32ForCausalLM", seed=0)
    args = ["--skip-tokenizer-init", "--distributed-executor-backend", "mp", "--tensor-parallel-size", "2"]
    env = {"VLLM_PLUGINS": "dsa_cpu,indexcache"}
    with serving(folder, folder / "model", args, env) as server:
        yield server


def prompt(seed: int, n: int = 300) -> list[int]:
    return torch.randint(3, 256, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


def test_the_state_of_a_new_engine(server: Server) -> None:
    state = server.state()
    assert (state.supported, state.reasons, state.mode, state.reason) == (True, (), Mode.OFF, Reason.STARTED)
    assert state.architecture == "DeepseekV32ForCausalLM"
    assert [(s.index, s.layer, s.k) for s in state.sites] == [(i, i, 64) for i in range(4)]
    assert state.engine_version.startswith("0.32.")
    assert state.checkpoint == fingerprint(server.log.parent / "model")


def test_put_measures_and_kill_ends_it(server: Server) -> None:
    before = server.ask(prompt(1))
    assert server.put("shadow").mode is Mode.SHADOW
    assert server.ask(prompt(2)) is not None
    on = server.put("on")
    assert (on.mode, on.permit_remaining_seconds is not None) == (Mode.ON, True)
    server.ask(prompt(3))
    modes = until(
        lambda: (
            found if len(found := {s.mode for s in server.state().observed if s.recall.count}) == 2 else None
        )
    )
    assert modes == {Mode.SHADOW, Mode.ON}
    killed = server.kill()
    assert (killed.mode, killed.reason, killed.message) == (Mode.TRIPPED, Reason.KILLED, "test")
    assert server.ask(prompt(1)) == before


def test_a_kill_under_load(server: Server) -> None:
    """From the step after it on nothing is reused, and the requests in flight go on to their end."""
    server.put("on")
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(server.ask, prompt(10 + i), tokens=200) for i in range(4)]
        until(lambda: True if server.state().requests.running_reuse == 4 else None)
        killed = server.kill()
        until(lambda: True if server.state().steps.full > killed.steps.full + 2 else None)
        after = server.state()
        assert (
            after.steps.reuse <= killed.steps.reuse + 1
        )  # the one whose flags were settled when the kill came
        assert all(len(a.result()) == 200 for a in answers)
    assert server.state().steps.reuse == after.steps.reuse


def test_a_permit_lapses_in_an_idle_engine(server: Server) -> None:
    assert server.put("on", permit_seconds=0.3).mode is Mode.ON
    assert (
        until(lambda: state if (state := server.state()).mode is Mode.TRIPPED else None).reason
        is Reason.PERMIT_LAPSED
    )


def test_requests_and_probes_are_counted_apart(server: Server) -> None:
    until(
        lambda: (
            True
            if server.state().requests.running_baseline == server.state().requests.running_reuse == 0
            else None
        )
    )
    before = server.state().requests
    server.ask(prompt(4))
    server.ask(prompt(5), {"X-Request-Id": probe_request_id(TOKEN, "n1")})
    server.ask(prompt(6), {"X-Request-Id": probe_request_id("another token", "n1")})
    after = until(lambda: r if (r := server.state().requests).finished == before.finished + 2 else None)
    assert after.probes == before.probes + 1
    assert after.admitted_baseline == before.admitted_baseline + 2
    assert sum(after.contexts) == sum(before.contexts) + 2


def test_refusals(server: Server) -> None:
    def refused(response: httpx.Response) -> tuple[int, str, str]:
        r = Refused.model_validate_json(response.text)
        return response.status_code, r.code, r.field

    put = server.put("off")
    url = server.control.base_url
    assert refused(httpx.get(url.join("/v1/state")))[:2] == (401, "Unauthorized")
    assert refused(httpx.post(url.join("/v1/kill"), headers={"Authorization": "Bearer wrong"}))[:2] == (
        401,
        "Unauthorized",
    )
    good = server.body("on")
    wrong: list[tuple[dict[str, Any], tuple[int, str, str]]] = [
        ({"incarnation": "other"}, (409, "OtherIncarnation", "incarnation")),
        ({"epoch": put.epoch - 1}, (409, "OldEpoch", "epoch")),
        ({"epoch": put.epoch}, (409, "EpochConflict", "epoch")),
        ({"flags": {"mode": "on", "pattern": "FSFSFS"}}, (422, "DoesNotFit", "flags.pattern")),
        ({"permit_seconds": None}, (422, "Invalid", "permit_seconds")),
    ]
    for change, expected in wrong:
        assert refused(server.control.put("/v1/flags", json={**good, **change})) == expected
    assert refused(server.control.put("/v1/flags", content="{")) == (422, "Invalid", "body")
    assert refused(server.control.get("/v2/state"))[:2] == (404, "NotFound")
    after = server.state()
    assert (after.mode, after.epoch) == (Mode.OFF, put.epoch)


@pytest.mark.parametrize("size", [MAX_BODY + 1, 10_000_000])
def test_a_large_body_is_refused_unread(server: Server, size: int) -> None:
    """By its declared length: not one byte of it is sent."""
    address = (server.control.base_url.host, server.control.base_url.port)
    with socket.create_connection(address, timeout=30) as s:
        s.sendall(
            f"PUT /v1/flags HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: "
            f"{size}\r\n\r\n".encode()
        )
        assert s.recv(100).startswith(b"HTTP/1.1 413 ")
    assert server.ask(prompt(7)) is not None


def test_the_users_port_knows_no_control(server: Server) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for method, path in [
        ("GET", "/v1/state"),
        ("PUT", "/v1/flags"),
        ("POST", "/v1/kill"),
        ("GET", "/indexcache/v1/state"),
    ]:
        assert server.users.request(method, path, headers=headers).status_code == 404


def test_metrics_on_the_servers_own_page(server: Server) -> None:
    server.put("on")
    server.ask(prompt(8))
    state = until(lambda: s if (s := server.state()).requests.running_reuse == 0 else None)

    def shown() -> dict[str, list[tuple[dict[str, str], float]]] | None:
        found, now = server.metrics(), server.state()
        counted = sum(v for _, v in found.get("indexcache_recall_count", []))
        return (
            found
            if ({**WHO, "kind": "finished"}, float(state.requests.finished))
            in found.get("indexcache_requests_total", [])
            and counted == sum(s.recall.count for s in now.observed)
            else None
        )

    metrics = until(shown)
    assert {labels["mode"]: value for labels, value in metrics["indexcache_mode"]} == {
        "off": 0,
        "shadow": 0,
        "on": 1,
        "tripped": 0,
    }
    assert metrics["indexcache_guardrail_min"] == [({**WHO, "guardrail": "recall"}, 0.36)]
    assert metrics["indexcache_epoch"] == [(WHO, state.epoch)]
    sites = {labels["site"] for labels, count in metrics["indexcache_recall_count"] if count}
    assert sites == {"mean", *(str(s.site) for s in state.observed if s.site is not None)} > {"mean"}
    assert {labels["work"] for labels, _ in metrics["indexcache_recall_count"]} == {"prefill", "decode"}
    assert server.users.get("/metrics").text.count("vllm:request_success_total{") > 0
    assert server.users.get("/v1/models").headers.get_list("x-indexcache-state") == [
        "on"
    ]  # once: the plugin was loaded once
    server.kill()
    until(lambda: True if ({**WHO, "mode": "tripped"}, 1.0) in server.metrics()["indexcache_mode"] else None)


def test_requests_opt_out_by_body_or_header_and_hear_of_mistakes(server: Server) -> None:
    body: dict[str, Any] = {
        "model": "m",
        "prompt": prompt(9),
        "max_tokens": 8,
        "temperature": 0,
        "ignore_eos": True,
    }
    expected = server.ask(prompt(9))
    server.put("on")
    before = until(
        lambda: r if (r := server.state().requests).running_baseline == r.running_reuse == 0 else None
    )

    def ask(
        extra: dict[str, Any] | None = None, headers: dict[str, str] | None = None, path: str = "completions"
    ) -> httpx.Response:
        return server.users.post(
            f"/v1/{path}", json={**body, "return_token_ids": True, **(extra or {})}, headers=headers
        )

    for answer in (
        ask({"vllm_xargs": {"indexcache": "off"}}),
        ask(headers={"x-indexcache": "off", "x-request-id": "mine"}),
    ):
        assert answer.raise_for_status().json()["choices"][0]["token_ids"] == expected
    after = server.state().requests
    assert (after.opted_out, after.admitted_baseline) == (before.opted_out + 2, before.admitted_baseline + 2)
    assert after.touched_by_reuse == before.touched_by_reuse

    wrong = ask({"vllm_xargs": {"indexcache": "maybe"}})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "vllm_xargs.indexcache")
    assert "vllm_xargs.indexcache: 'maybe'; expected \"off\"" in wrong.json()["error"]["message"]
    for headers, path in (({"x-indexcache": "maybe"}, "completions"), ({"x-indexcache": "off"}, "responses")):
        wrong = ask(headers=headers, path=path)
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "x-indexcache")
        assert len(wrong.headers.get_list("x-indexcache-state")) == 1
    until(
        lambda: (
            True
            if ({**WHO, "kind": "opted_out"}, float(after.opted_out))
            in server.metrics()["indexcache_requests_total"]
            else None
        )
    )
    server.kill()

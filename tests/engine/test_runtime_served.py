"""`vllm serve` with the runtime delivered as a pod gets it: a folder on PYTHONPATH, from an environment that has nothing of ours.

One server for the whole file, with a worker process of its own (executor mp), so that plans and measurements cross processes.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import torch
from indexcache_core.contract import MAX_BODY, Mode, Reason, Refused, State, probe_request_id
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.engine

TOKEN = "served-token"
PATTERN = "FSFS"
ROOT = Path(__file__).parents[2]
T = TypeVar("T")
WHO = {"namespace": "serving", "rollout": "glm5", "uid": "u-1", "revision": "5f9c"}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def until(what: Callable[[], T | None], seconds: float = 30.0) -> T:
    """Wait for a condition; the deadline only ends a test that would hang."""
    deadline = time.monotonic() + seconds
    while (value := what()) is None:
        assert time.monotonic() < deadline
    return value


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    log: Path
    users: httpx.Client
    control: httpx.Client
    epoch: int = 0

    def state(self) -> State:
        return State.model_validate_json(self.control.get("/v1/state").raise_for_status().text)

    def body(self, mode: str, **changes: Any) -> dict[str, Any]:
        self.epoch += 1
        flags = {"mode": mode, "pattern": PATTERN, "sample_rows": 64}
        return {
            "incarnation": self.state().incarnation,
            "epoch": self.epoch,
            "flags": flags,
            "permit_seconds": 600,
            "identity": WHO,
            "thresholds": {"recall": 0.36},
            **changes,
        }

    def put(self, mode: str, **changes: Any) -> State:
        return State.model_validate_json(self.control.put("/v1/flags", json=self.body(mode, **changes)).raise_for_status().text)

    def kill(self) -> State:
        return State.model_validate_json(self.control.post("/v1/kill", json={"reason": "test"}).raise_for_status().text)

    def ask(self, prompt: list[int], headers: dict[str, str] | None = None, tokens: int = 8) -> list[int]:
        """The tokens generated."""
        body = {"model": "m", "prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "return_token_ids": True}
        answer = self.users.post("/v1/completions", json=body, headers=headers).raise_for_status().json()
        ids: list[int] = answer["choices"][0]["token_ids"]
        return ids

    def metrics(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(self.users.get("/metrics").text):
            for sample in family.samples:
                if sample.name.startswith("indexcache_"):
                    found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found


def deliver(folder: Path) -> None:
    """What an init container copies: our packages and their metadata, nothing else."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    packages = [str(ROOT / name) for name in ("core", "kernels", "runtime", "testbed/dsa_cpu")]
    subprocess.run(
        [uv, "pip", "install", "-q", "--python", sys.executable, "--no-deps", "--no-build-isolation", "--target", str(folder), *packages],
        check=True,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    from dsa_cpu import random_model

    folder = tmp_path_factory.mktemp("served")
    random_model.write(folder / "model", "DeepseekV32ForCausalLM", seed=0)
    deliver(folder / "plugins")
    (folder / "token").write_text(TOKEN)
    users, control, log = free_port(), free_port(), folder / "log"
    env = {k: v for k, v in os.environ.items() if not k.startswith(("VLLM_", "INDEXCACHE_", "PYTHON"))}
    env |= {
        "PYTHONPATH": str(folder / "plugins"),
        "VLLM_PLUGINS": "dsa_cpu,indexcache",
        "INDEXCACHE_TOKEN_FILE": str(folder / "token"),
        "INDEXCACHE_CONTROL_PORT": str(control),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    python = Path(sys.prefix).with_name("engine") / "bin/python"  # a stock vLLM
    assert python.exists(), f"{python} is missing; `make` installs the engines' environment there"
    command = [
        str(python),
        "-m",
        "vllm.entrypoints.cli.main",
        "serve",
        str(folder / "model"),
        "--served-model-name",
        "m",
        "--port",
        str(users),
    ]
    command += ["--skip-tokenizer-init", "--dtype", "float32", "--max-model-len", "1088", "--kv-cache-memory-bytes", "64M"]
    command += ["--distributed-executor-backend", "mp"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, cwd=folder)
    base = f"http://127.0.0.1:{users}"
    s = Server(
        process,
        log,
        httpx.Client(base_url=base, timeout=120),
        httpx.Client(base_url=f"http://127.0.0.1:{control}", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30),
    )

    def ready() -> bool | None:
        assert process.poll() is None, log.read_text()[-5000:]
        try:
            return s.users.get("/health").status_code == 200 or None
        except httpx.TransportError:
            return None

    try:
        until(ready, 300)
        yield s
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
        s.users.close()
        s.control.close()


def prompt(seed: int, n: int = 300) -> list[int]:
    return torch.randint(3, 256, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


def test_the_state_of_a_new_engine(server: Server) -> None:
    state = server.state()
    assert (state.supported, state.reasons, state.mode, state.reason) == (True, (), Mode.OFF, Reason.STARTED)
    assert state.architecture == "DeepseekV32ForCausalLM"
    assert [(s.index, s.layer, s.k) for s in state.sites] == [(i, i, 64) for i in range(4)]
    assert state.engine_version.startswith("0.32.")


def test_put_measures_and_kill_ends_it(server: Server) -> None:
    before = server.ask(prompt(1))
    assert server.put("shadow").mode is Mode.SHADOW
    assert server.ask(prompt(2)) is not None
    on = server.put("on")
    assert (on.mode, on.permit_remaining_seconds is not None) == (Mode.ON, True)
    server.ask(prompt(3))
    modes = until(lambda: found if len(found := {s.mode for s in server.state().series if s.recall.count}) == 2 else None)
    assert modes == {Mode.SHADOW, Mode.ON}
    killed = server.kill()
    assert (killed.mode, killed.reason, killed.message) == (Mode.TRIPPED, Reason.KILLED, "test")
    assert server.ask(prompt(1)) == before


def test_a_permit_lapses_in_an_idle_engine(server: Server) -> None:
    assert server.put("on", permit_seconds=0.3).mode is Mode.ON
    assert until(lambda: state if (state := server.state()).mode is Mode.TRIPPED else None).reason is Reason.PERMIT_LAPSED


def test_requests_and_probes_are_counted_apart(server: Server) -> None:
    until(lambda: True if server.state().requests.running_baseline == server.state().requests.running_reuse == 0 else None)
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
    assert refused(httpx.post(url.join("/v1/kill"), headers={"Authorization": "Bearer wrong"}))[:2] == (401, "Unauthorized")
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
        s.sendall(f"PUT /v1/flags HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {size}\r\n\r\n".encode())
        assert s.recv(100).startswith(b"HTTP/1.1 413 ")
    assert server.ask(prompt(7)) is not None


def test_the_users_port_knows_no_control(server: Server) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for method, path in [("GET", "/v1/state"), ("PUT", "/v1/flags"), ("POST", "/v1/kill"), ("GET", "/indexcache/v1/state")]:
        assert server.users.request(method, path, headers=headers).status_code == 404


def test_metrics_on_the_servers_own_page(server: Server) -> None:
    server.put("on")
    server.ask(prompt(8))
    state = until(lambda: s if (s := server.state()).requests.running_reuse == 0 else None)

    def shown() -> dict[str, list[tuple[dict[str, str], float]]] | None:
        found = server.metrics()
        return (
            found if ({**WHO, "kind": "finished"}, float(state.requests.finished)) in found.get("indexcache_requests_total", []) else None
        )

    metrics = until(shown)
    assert {labels["mode"]: value for labels, value in metrics["indexcache_mode"]} == {"off": 0, "shadow": 0, "on": 1, "tripped": 0}
    assert metrics["indexcache_guardrail_min"] == [({**WHO, "guardrail": "recall"}, 0.36)]
    assert metrics["indexcache_epoch"] == [(WHO, state.epoch)]
    assert sum(v for labels, v in metrics["indexcache_recall_count"]) == sum(s.recall.count for s in state.series)
    assert server.users.get("/metrics").text.count("vllm:request_success_total{") > 0
    assert server.users.get("/v1/models").headers["x-indexcache-state"] == "on"
    server.kill()
    until(lambda: True if ({**WHO, "mode": "tripped"}, 1.0) in server.metrics()["indexcache_mode"] else None)

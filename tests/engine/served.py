"""`vllm serve` as an engine pod runs it: a stock vLLM, and what is ours in a folder on PYTHONPATH.

A server is asked on two ports, the users' and the control port; one runs at a time.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from indexcache_core.contract import State
from indexcache_testbed.cluster import engine_environment
from indexcache_testbed.cluster.layout import Layout
from prometheus_client.parser import text_string_to_metric_families

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
        return State.model_validate_json(
            self.control.put("/v1/flags", json=self.body(mode, **changes)).raise_for_status().text
        )

    def kill(self) -> State:
        return State.model_validate_json(
            self.control.post("/v1/kill", json={"reason": "test"}).raise_for_status().text
        )

    def ask(self, prompt: list[int], headers: dict[str, str] | None = None, tokens: int = 8) -> list[int]:
        """Return the tokens generated."""
        body = {
            "model": "m",
            "prompt": prompt,
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "return_token_ids": True,
        }
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
    """Copy what an init container copies: our packages and their metadata, nothing else."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    packages = [str(ROOT / name) for name in ("core", "kernels", "runtime", "testbed/dsa_cpu")]
    subprocess.run(
        [
            uv,
            "pip",
            "install",
            "-q",
            "--python",
            sys.executable,
            "--no-deps",
            "--no-build-isolation",
            "--target",
            str(folder),
            *packages,
        ],
        check=True,
    )


@contextmanager
def serving(folder: Path, model: Path, args: list[str], env: Mapping[str, str]) -> Iterator[Server]:
    """Run a server of `model` under the name m; yield it once it is ready. `env` is added to an environment
    without anything of vLLM's or ours.
    """
    deliver(folder / "plugins")
    (folder / "token").write_text(TOKEN)
    users, control, log = free_port(), free_port(), folder / "log"
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("VLLM_", "INDEXCACHE_", "PYTHON", "TORCH"))
    }
    given = {
        "PYTHONPATH": str(folder / "plugins"),
        "INDEXCACHE_TOKEN_FILE": str(folder / "token"),
        "INDEXCACHE_CONTROL_PORT": str(control),
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "HF_HUB_OFFLINE": "1",
    }
    python = engine_environment.place(Layout.of()) / "bin/python"  # a stock vLLM
    assert python.exists(), (
        f"{python} is missing; `testbed environment` makes it, and `make engine` runs that"
    )
    command = [
        str(python),
        "-m",
        "vllm.entrypoints.cli.main",
        "serve",
        str(model),
        "--served-model-name",
        "m",
        "--port",
        str(users),
    ]
    command += ["--dtype", "float32", "--max-model-len", "1088", "--block-size", "16"]
    command += ["--kv-cache-memory-bytes", "64M", *args]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            env=clean | given | dict(env),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder,
        )
    s = Server(
        process,
        log,
        httpx.Client(base_url=f"http://127.0.0.1:{users}", timeout=120),
        httpx.Client(
            base_url=f"http://127.0.0.1:{control}", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30
        ),
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

"""The operator as a process of its own, from its command line, against a real API server."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from indexcache_operator import names
from indexcache_operator.kube import Kube, NotFound

from tests.cluster import apiserver

MEGABYTES = 120
ROLLOUT: dict[str, Any] = {
    "apiVersion": "indexcache.dev/v1alpha1",
    "kind": "IndexCacheRollout",
    "metadata": {"name": "r"},
    "spec": {
        "engine": {"image": "i", "model": "m"},
        "indexCache": {"pattern": "FS"},
        "guardrails": {"recall": {"min": 0.5}},
    },
}


async def eventually(condition: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(90):
        while not await condition():  # noqa: ASYNC110 (the API is what is asked)
            await asyncio.sleep(0.05)


class Operator:
    """A running operator."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, log: Path) -> None:
        self.process, self.url, self._log = process, url, log

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def healthy(self) -> bool:
        assert self.process.returncode is None, self.log
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/healthz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    def megabytes(self) -> int:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found
        return int(found[1]) // 1024


def environment(server: apiserver.ApiServer, namespace: str, tmp_path: Path) -> dict[str, str]:
    token = tmp_path / "token"
    token.write_text("webhook-token\n")
    keys = tmp_path / "control-keys"
    keys.mkdir()
    (keys / "1").write_text("k" * 32)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    return {
        **os.environ,
        "KUBECONFIG": str(server.kubeconfig),
        "INDEXCACHE_RUNTIME_IMAGE": "runtime:1",
        "INDEXCACHE_CONTROL_KEYS": str(keys),
        "INDEXCACHE_CONTROL_KEYS_SECRET": f"{namespace}/control-keys",
        "INDEXCACHE_NAMESPACES": namespace,
        "INDEXCACHE_WEBHOOK_PORT": str(port),
        "INDEXCACHE_WEBHOOK_TOKEN_FILE": str(token),
    }


@asynccontextmanager
async def started(env: dict[str, str], tmp_path: Path) -> AsyncIterator[Operator]:
    log = tmp_path / "operator.log"
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "indexcache_operator", env=env, stdout=out, stderr=out
        )
    operator = Operator(process, f"http://127.0.0.1:{env['INDEXCACHE_WEBHOOK_PORT']}", log)
    try:
        await eventually(operator.healthy)
        yield operator
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def at_work(kube: Kube, namespace: str, env: dict[str, str], tmp_path: Path) -> AsyncIterator[Operator]:
    """Run an operator that has taken up ROLLOUT: its Deployment is there."""
    async with started(env, tmp_path) as operator:
        await kube.create(names.rollouts_path(namespace), ROLLOUT)

        async def applied() -> bool:
            return bool(await kube.select(names.object_path("apis/apps/v1", "deployments", namespace)))

        await eventually(applied)
        yield operator


async def test_takes_up_a_rollout_and_lets_it_go(
    kube: Kube, namespace: str, server: apiserver.ApiServer, tmp_path: Path
) -> None:
    path = names.rollouts_path(namespace, "r")
    async with at_work(kube, namespace, environment(server, namespace, tmp_path), tmp_path) as operator:
        deployment = await kube.get(names.object_path("apis/apps/v1", "deployments", namespace, "r"))
        assert deployment["spec"]["replicas"] == 1
        raw = await kube.get(path)
        assert raw["status"]["phase"] == "Checking"
        assert raw["metadata"]["finalizers"] == [names.FINALIZER]
        assert not raw["metadata"].get("annotations")
        shown = (
            f'indexcache_operator_rollout_phase{{namespace="{namespace}",phase="Checking",rollout="r"}} 1.0'
        )

        async def counted() -> bool:
            async with aiohttp.ClientSession() as session, session.get(f"{operator.url}/metrics") as answer:
                return shown in await answer.text()

        await eventually(counted)
        assert operator.megabytes() <= MEGABYTES
        await kube.delete(path)

        async def gone() -> bool:
            try:
                await kube.get(path)
            except NotFound:
                return True
            return False

        await eventually(gone)
        with pytest.raises(NotFound):
            await kube.get(names.object_path("apis/apps/v1", "deployments", namespace, "r"))
        operator.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            await operator.process.wait()
        assert "Traceback" not in operator.log


async def test_of_two_rollouts_on_one_rule_the_second_is_refused_by_the_firsts_name(
    kube: Kube, namespace: str, server: apiserver.ApiServer, tmp_path: Path
) -> None:
    def body(name: str) -> dict[str, Any]:
        engine = {**ROLLOUT["spec"]["engine"], "replicas": 2}
        traffic = {"httpRoute": {"name": "users", "rule": "all"}}
        spec = {**ROLLOUT["spec"], "engine": engine, "traffic": traffic}
        return {**ROLLOUT, "metadata": {"name": name}, "spec": spec}

    async with started(environment(server, namespace, tmp_path), tmp_path):
        messages: dict[str, str] = {}

        async def told() -> bool:
            for name in ("first", "second"):
                raw = await kube.get(names.rollouts_path(namespace, name))
                messages[name] = (raw.get("status") or {}).get("message", "")
            return all(messages.values())

        await kube.create(names.rollouts_path(namespace), body("first"))
        await asyncio.sleep(1.1)  # times of creation are whole seconds
        await kube.create(names.rollouts_path(namespace), body("second"))
        await eventually(told)

        async def refused() -> bool:
            await told()
            return "is rollout first's" in messages["second"]

        await eventually(refused)
        assert "is rollout second's" not in messages["first"]


async def test_deleted_while_no_operator_was_there_is_cleaned_up_by_the_next(
    kube: Kube, namespace: str, server: apiserver.ApiServer, tmp_path: Path
) -> None:
    path, env = names.rollouts_path(namespace, "r"), environment(server, namespace, tmp_path)
    async with at_work(kube, namespace, env, tmp_path):
        pass
    await kube.delete(path)
    assert (await kube.get(path))["metadata"]["deletionTimestamp"]
    async with started(env, tmp_path):

        async def gone() -> bool:
            return not await kube.select(
                names.object_path("apis/apps/v1", "deployments", namespace)
            ) and not await kube.select(names.rollouts_path(namespace))

        await eventually(gone)


async def test_release_frees_rollouts_and_keeps_their_engines(
    kube: Kube, namespace: str, server: apiserver.ApiServer, tmp_path: Path
) -> None:
    path, env = names.rollouts_path(namespace, "r"), environment(server, namespace, tmp_path)
    async with at_work(kube, namespace, env, tmp_path):
        pass
    release = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "indexcache_operator",
            "release",
            "--timeout",
            "60",
            "--stop",
            f"{namespace}/no-such-operator",
        ),
        env=env,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(release.communicate(), 120)
    assert release.returncode == 0, said.decode()
    assert b"1 rollouts released, 0 of them not confirmed" in said
    raw = await kube.get(path)
    assert names.FINALIZER not in (raw["metadata"].get("finalizers") or [])
    deployment = await kube.get(names.object_path("apis/apps/v1", "deployments", namespace, "r"))
    assert deployment["metadata"]["ownerReferences"][0]["uid"] == raw["metadata"]["uid"]


async def test_without_a_control_key_it_refuses_to_start_in_one_line(
    kube: Kube, namespace: str, server: apiserver.ApiServer, tmp_path: Path
) -> None:
    env = environment(server, namespace, tmp_path)
    (tmp_path / "control-keys" / "1").unlink()
    del env["INDEXCACHE_CONTROL_KEYS_SECRET"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "indexcache_operator"), env=env, stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    (line,) = said.decode().splitlines()
    assert "control-keys: found no control key; expected a file with at least 32 characters" in line


async def test_says_what_is_missing_from_its_environment(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("INDEXCACHE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "indexcache_operator"), env=env, stderr=asyncio.subprocess.PIPE, cwd=tmp_path
    )
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert b"INDEXCACHE_RUNTIME_IMAGE: not set" in said

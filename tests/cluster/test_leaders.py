"""Two operators as processes of their own against a real API server: one leads, the other takes over, and
what was the leader's writes nothing more.
"""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from indexcache_core.contract import CONTROL_PORT, Mode, State
from indexcache_operator import names
from indexcache_operator.kube import Kube, NotFound
from indexcache_operator.leading.decide import LEASE_SECONDS
from indexcache_operator.leading.elector import LEASES
from indexcache_operator.plan.facts.revision import KILL

from tests.cluster import apiserver
from tests.cluster.scene import make_pod
from tests.cluster.test_process import ROLLOUT, Operator, environment, eventually, started
from tests.credentials import control

LEASE, SERVICE = "operator", "127.0.0.9"
FEW_SECONDS = 15.0
"""For what comes after a lease has run out: a look at it, and what two busy cores add."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, binaries: Path) -> Iterator[apiserver.ApiServer]:
    """Run an API server that logs who writes what."""
    with apiserver.running(tmp_path_factory.mktemp("audited"), binaries, audited=True) as found:
        yield found


class Pair:
    """Two operators, of which the first leads."""

    def __init__(self, server: apiserver.ApiServer, kube: Kube, namespace: str) -> None:
        self.server, self.kube, self.namespace = server, kube, namespace
        self.operators: dict[str, Operator] = {}

    async def lease(self) -> dict[str, Any]:
        try:
            found = await self.kube.get(names.object_path(LEASES, "leases", self.namespace, LEASE))
        except NotFound:
            return {}
        spec: dict[str, Any] = found["spec"]
        return spec

    async def led_by(self, identity: str) -> None:
        async def leads() -> bool:
            return (await self.lease()).get("holderIdentity") == identity

        await eventually(leads)

    async def start(self, stack: AsyncExitStack, tmp_path: Path, identity: str) -> None:
        folder = tmp_path / identity
        folder.mkdir()
        env = environment(self.server, self.namespace, folder)
        env |= {"INDEXCACHE_LEASE": f"{self.namespace}/{LEASE}", "INDEXCACHE_IDENTITY": identity}
        env["KUBECONFIG"] = str(self.server.kubeconfig_of(identity))
        self.operators[identity] = await stack.enter_async_context(started(env, folder))

    async def create(self) -> str:
        """Create the rollout, and wait until it is deployed and its status says what it waits for. Return its
        uid.
        """
        made = await self.kube.create(names.rollouts_path(self.namespace), ROLLOUT)

        async def told() -> bool:
            raw = await self.kube.get(names.rollouts_path(self.namespace, "r"))
            deployments = names.object_path("apis/apps/v1", "deployments", self.namespace)
            said = (raw.get("status") or {}).get("message", "")
            return bool(await self.kube.select(deployments)) and said == "Waiting: 0 of 1 engines ready"

        await eventually(told)
        uid: str = made["metadata"]["uid"]
        return uid

    async def resting(self) -> dict[str, str]:
        """Return the versions of all that belongs to the rollout, once nothing changes them any more."""
        found: dict[str, str] = {}

        async def same() -> bool:
            nonlocal found
            before, found = found, await self.versions()
            await asyncio.sleep(1)
            return before == found

        await eventually(same)
        return found

    async def status(self) -> dict[str, Any]:
        found = await self.kube.get(names.rollouts_path(self.namespace, "r"))
        status: dict[str, Any] = found["status"]
        return status

    async def versions(self) -> dict[str, str]:
        kinds = (("apis/apps/v1", "deployments"), ("api/v1", "services"), names.ROLLOUTS)
        found = [await self.kube.select(names.object_path(*kind, self.namespace)) for kind in kinds]
        return {
            f"{item['kind']} {item['metadata']['name']}": item["metadata"]["resourceVersion"]
            for part in found
            for item in part
        }

    def writes(self, user: str) -> list[str]:
        """Return what a user wrote in this namespace, by the API server's own log: time, verb and path."""
        entries = (json.loads(line) for line in self.server.audit.read_text().splitlines())
        return [
            f"{e['requestReceivedTimestamp']} {e['verb']} {e['requestURI']} {e['responseStatus'].get('code')}"
            for e in entries
            if e["user"]["username"] == user and f"/{self.namespace}/" in e["requestURI"]
        ]


@asynccontextmanager
async def both(pair: Pair, tmp_path: Path) -> AsyncIterator[None]:
    """Run two operators, of which operator-a leads."""
    async with AsyncExitStack() as stack:
        await pair.start(stack, tmp_path, "operator-a")
        await pair.led_by("operator-a")
        await pair.start(stack, tmp_path, "operator-b")
        yield


@pytest.fixture
def pair(server: apiserver.ApiServer, kube: Kube, namespace: str) -> Pair:
    return Pair(server, kube, namespace)


async def test_a_leader_that_is_killed_is_followed_and_nothing_of_the_rollout_moves(
    pair: Pair, tmp_path: Path
) -> None:
    async with both(pair, tmp_path):
        await pair.create()
        before, term = await pair.resting(), (await pair.lease())["leaseTransitions"]
        status = await pair.status()
        assert pair.writes("operator-b") == []  # who stands by writes nothing
        killed = time.monotonic()
        pair.operators["operator-a"].process.kill()
        await pair.led_by("operator-b")
        assert time.monotonic() - killed <= LEASE_SECONDS + FEW_SECONDS
        assert (await pair.lease())["leaseTransitions"] == term + 1
        after = await pair.resting()
        assert await pair.status() == status
        assert after == before
        await pair.kube.patch(names.rollouts_path(pair.namespace, "r"), {"spec": {"engine": {"replicas": 3}}})

        async def followed() -> bool:
            path = names.object_path("apis/apps/v1", "deployments", pair.namespace, "r")
            return bool((await pair.kube.get(path))["spec"]["replicas"] == 3)

        await eventually(followed)


async def test_a_leader_that_is_stopped_gives_the_lease_up_and_is_followed_before_it_would_run_out(
    pair: Pair, tmp_path: Path
) -> None:
    async with both(pair, tmp_path):
        process = pair.operators["operator-a"].process
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 60)
        ended = time.monotonic()
        await pair.led_by("operator-b")
        assert time.monotonic() - ended < LEASE_SECONDS
        assert "Traceback" not in pair.operators["operator-a"].log


async def busy(pair: Pair) -> None:
    """Change the rollout all the time: whoever leads has to write."""
    number = 0
    while True:
        number += 1
        change = {"spec": {"engine": {"replicas": 1 + number % 3}}}
        await pair.kube.patch(names.rollouts_path(pair.namespace, "r"), change)
        await asyncio.sleep(0.05)


async def test_a_leader_that_stood_still_past_its_lease_writes_nothing_under_its_old_term(
    pair: Pair, tmp_path: Path
) -> None:
    async with both(pair, tmp_path):
        await pair.create()
        old = pair.operators["operator-a"].process
        changing = asyncio.create_task(busy(pair))
        try:
            await asyncio.sleep(1.7)  # somewhere in its work
            old.send_signal(signal.SIGSTOP)
            await pair.led_by("operator-b")
            before = pair.writes("operator-a")
            assert before, "the leader had nothing to write"

            async def taken_up() -> bool:
                return any("/status" in line for line in pair.writes("operator-b"))

            await eventually(taken_up)
        finally:
            old.send_signal(signal.SIGCONT)
            changing.cancel()
            await asyncio.gather(changing, return_exceptions=True)

        async def knows() -> bool:
            return "leads no longer" in pair.operators["operator-a"].log

        await eventually(knows)
        await pair.resting()
        assert pair.writes("operator-a") == before
        assert (await pair.lease())["holderIdentity"] == "operator-b"


@asynccontextmanager
async def engine(killed: list[str]) -> AsyncIterator[None]:
    """Serve a control port that says that reuse is on, and keeps why it was killed."""

    def state() -> State:
        return State(supported=True, incarnation="life", epoch=1, mode=Mode.TRIPPED if killed else Mode.ON)

    async def told(_: web.Request) -> web.Response:
        return web.Response(text=state().model_dump_json())

    async def kill(request: web.Request) -> web.Response:
        killed.append((await request.json())["reason"])
        return web.Response(text=state().model_dump_json())

    app = web.Application()
    app.add_routes([web.get("/v1/state", told), web.post("/v1/kill", kill)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, SERVICE, CONTROL_PORT).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def test_a_kill_is_obeyed_by_whoever_stands_by_while_the_leader_stands_still(
    pair: Pair, tmp_path: Path
) -> None:
    killed: list[str] = []
    path = names.rollouts_path(pair.namespace, "r")
    async with both(pair, tmp_path), engine(killed):
        uid = await pair.create()
        pair.operators["operator-a"].process.send_signal(signal.SIGSTOP)
        guard = control(pair.namespace, "r", uid)
        await make_pod(pair, {names.CONTROL_ANNOTATION: str(guard.binding)})
        raw = await pair.kube.get(path)
        promoted = {**raw["status"], "phase": "Promoted", "revision": "tried"}
        await pair.kube.replace(f"{path}/status", {**raw, "status": promoted})
        await pair.kube.patch(path, {"metadata": {"annotations": {KILL: "true"}}})

        async def obeyed() -> bool:
            return bool(killed)

        await eventually(obeyed)
        assert (await pair.lease())["holderIdentity"] == "operator-a"
        assert killed[0] == f"Killed: revision tried: annotation {KILL} stops revision tried"
        assert pair.writes("operator-b") == []
        pair.operators["operator-a"].process.send_signal(signal.SIGCONT)

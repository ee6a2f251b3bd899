"""Tests that a kill waits for nothing, is tried again, and needs the pods and the token alone."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Mode, State
from indexcache_operator import names
from indexcache_operator.act import perform
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import Status
from indexcache_operator.engines import EngineError, Engines, Told
from indexcache_operator.kube import Kube, KubeError
from indexcache_operator.mandate import Mandate
from indexcache_operator.model import Action, EnsureWorkload, Kill, Observation, PersistStatus
from indexcache_operator.observe import look
from indexcache_operator.observe.rollout import UnreadableStatus
from indexcache_operator.plan import plan
from indexcache_operator.plan.facts.revision import KILL, revision

from tests.cluster.scene import ROLLOUT, Scene, make_pod, running
from tests.credentials import control


async def test_a_kill_waits_for_nothing_and_nothing_for_a_kill(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine hangs until the status was written; the status write hangs until the kill was begun."""
    killing, killed = asyncio.Event(), asyncio.Event()

    async def kill(self: Engines, ip: str, reason: str) -> None:
        killing.set()

        async def written() -> bool:
            return (await scene.status()).get("epoch") == 9

        await scene.eventually(written)
        killed.set()

    monkeypatch.setattr(Engines, "kill", kill)
    await make_pod(scene)

    def decide(o: Observation) -> tuple[Status, list[Action]]:
        if not o.workload_current:
            return o.status, [EnsureWorkload()]
        if o.status.epoch == 9:
            return o.status, []
        return replace(o.status, epoch=9), [PersistStatus(), Kill(pod="p", reason="why")]

    loop = scene.loop(decide, wait=0.01)
    written = loop._writer.write

    async def write(*args: Any) -> Any:
        if args[2].epoch == 9:
            await killing.wait()
        return await written(*args)

    monkeypatch.setattr(loop._writer, "write", write)
    async with running(loop), asyncio.timeout(60):
        await killed.wait()


async def test_a_kill_that_fails_is_tried_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0
    done = asyncio.Event()

    async def kill(self: Engines, ip: str, reason: str) -> None:
        nonlocal tries
        tries += 1
        if tries < perform.KILL_TRIES:
            raise EngineError("timeout")
        done.set()

    monkeypatch.setattr(Engines, "kill", kill)
    await make_pod(scene)

    def decide(o: Observation) -> tuple[Status, list[Action]]:
        if not o.workload_current:
            return o.status, [EnsureWorkload()]
        return o.status, [] if done.is_set() else [Kill(pod="p", reason="why")]

    async with running(scene.loop(decide, wait=0.01)), asyncio.timeout(60):
        await done.wait()
    assert tries == perform.KILL_TRIES


class Faulty:
    """The real API, but that requests of one verb are refused whose path holds a text."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self.refused: tuple[str, ...] = ()

    def under(self, mandate: Mandate) -> "Faulty":
        return self

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._kube, name)

        async def call(path: str, *args: Any, **kwargs: Any) -> Any:
            if self.refused and f"{name} " == self.refused[0] and self.refused[1] in path:
                raise KubeError(500, "InternalError", f"{name} {path}: refused by this test")
            return await real(path, *args, **kwargs)

        return call


FAULTS = [
    ("get ", "deployments/r"),
    ("get ", "services/r-baseline"),
    ("get ", "services/r-canary"),
    ("create ", "secrets"),
    ("get ", "httproutes/"),
    ("get ", "configmaps/"),
    ("apply ", ""),
    ("create ", "events"),
    ("replace ", "/status"),
]


@pytest.mark.parametrize(("verb", "path"), FAULTS, ids=lambda part: part.strip(" /") or "any")
async def test_a_kill_needs_the_pods_and_the_token_and_nothing_else(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, verb: str, path: str
) -> None:
    """The rollout is promoted, all the real planner's; then one request after another is refused, and
    somebody kills.
    """
    killed = asyncio.Event()

    async def kill(self: Engines, ip: str, reason: str) -> None:
        killed.set()

    async def ask(self: Engines, ip: str, known: str = "") -> Told:
        return Told(state=State(supported=True, incarnation="life", mode=Mode.ON, epoch=1), tag="")

    monkeypatch.setattr(Engines, "kill", kill)
    monkeypatch.setattr(Engines, "ask", ask)
    spec = {
        **ROLLOUT["spec"],
        "traffic": {"httpRoute": {"name": "users", "rule": "all"}},
        "guardrails": {"quality": {"probes": {"configMap": "probes"}}},
    }
    raw = await scene.kube.get(scene.path())
    await scene.kube.replace(scene.path(), {**raw, "spec": spec})
    await make_pod(scene)
    await scene.write(phase="Promoted", revision=(name := revision(Spec.model_validate(spec))))
    kube = Faulty(scene.kube)
    loop = scene.loop(
        lambda o: (o.status, [] if o.workload_current else [EnsureWorkload()]), wait=0.02, kube=kube
    )
    async with running(loop):

        async def applied() -> bool:
            return bool(scene.seen) and scene.seen[-1].workload_current

        await scene.eventually(applied)
        loop.planner = plan
        loop.memory = None
        kube.refused = (verb, path)
        await scene.kube.patch(scene.path(), {"metadata": {"annotations": {KILL: name}}})
        loop.wake()
        await asyncio.wait_for(killed.wait(), 60)


async def test_a_kill_is_obeyed_where_the_status_cant_be_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[str] = []

    async def kill(self: Engines, ip: str, reason: str) -> None:
        killed.append(f"{self.tokens[ip]} {ip}")

    monkeypatch.setattr(Engines, "kill", kill)
    guard = control(scene.namespace, "r", "of-an-earlier-rollout")
    await make_pod(scene, {names.CONTROL_ANNOTATION: str(guard.binding)})
    looked = asyncio.Event()

    def unreadable(raw: Any) -> Any:
        looked.set()
        raise UnreadableStatus("status.phase: 42; expected a phase", raw)

    monkeypatch.setattr(look, "read", unreadable)
    loop = scene.loop(lambda o: (o.status, []))
    async with running(loop):
        await looked.wait()
        assert killed == []
        await scene.kube.patch(scene.path(), {"metadata": {"annotations": {KILL: "now"}}})

        async def obeyed() -> bool:
            loop.wake()
            return bool(killed)

        await scene.eventually(obeyed)
    assert killed[0] == f"{guard.token} 127.0.0.9"

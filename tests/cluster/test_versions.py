"""The CRD and the operator upgraded one after the other, on a real API server that drops what a CRD lacks."""

import copy
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from indexcache_operator import names
from indexcache_operator.act import workload
from indexcache_operator.act.status import StatusWriter
from indexcache_operator.contracts import SPOKEN
from indexcache_operator.engines import Told
from indexcache_operator.kube import Kube
from indexcache_operator.model import Sighting
from indexcache_operator.observe.hugging_face import HuggingFace
from indexcache_operator.observe.look import Observer, Sight
from indexcache_operator.plan import plan
from indexcache_operator.workload.render import Owner, Runtime

from scripts.generate.crd import CRD_FILE
from tests.cluster import apiserver
from tests.cluster.conftest import established, httproute_crd
from tests.credentials import CREDENTIALS
from tests.recorded import rollouts
from tests.recorded.rollouts import NAMESPACE
from tests.unit.operator.plan.world import World
from tests.unit.operator.plan.world_parts import NAME

NEWER = Runtime(image="indexcache-runtime:9.9.9", pull_policy="Always")
ADDED = ("uid", "runtime", "checkpoint")
"""Fields of the status that the older CRD doesn't have."""


def crd(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return the CRD with another schema of the resource."""
    found = copy.deepcopy(yaml.safe_load(CRD_FILE.read_text()))
    change(found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"])
    return found  # type: ignore[no-any-return]


def older(parts: dict[str, Any]) -> None:
    for field in ADDED:
        del parts["status"]["properties"][field]
    del parts["spec"]["properties"]["engine"]["properties"]["runtime"]


def newer(parts: dict[str, Any]) -> None:
    for part in (parts["status"], parts["spec"], parts["spec"]["properties"]["strategy"]):
        part["properties"]["ofTheNext"] = {"type": "integer", "default": 1}


@pytest.fixture
def own_server(tmp_path: Path, binaries: Path) -> Iterator[apiserver.ApiServer]:
    """Run an API server whose CRDs a test may change."""
    with apiserver.running(tmp_path, binaries) as found:
        yield found


@pytest.fixture
async def api(own_server: apiserver.ApiServer) -> AsyncIterator[Kube]:
    async with apiserver.client(own_server.kubeconfig) as client:
        found = Kube(client)
        await established(found, httproute_crd())
        await found.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        yield found


class Scene:
    """A rollout with its engines, and an operator that is newer than the one that deployed them."""

    def __init__(self, kube: Kube, session: aiohttp.ClientSession) -> None:
        self.kube, self.session, self.writer = kube, session, StatusWriter()
        self.record: dict[str, Any] = {}
        self.runtime = rollouts.RUNTIME

    async def begin(self, made: Callable[[str], World]) -> None:
        """Bring the cluster to what a world holds."""
        body = {"apiVersion": "indexcache.dev/v1alpha1", "kind": "IndexCacheRollout"}
        stored = await self.kube.create(
            names.rollouts_path(NAMESPACE), {**body, "metadata": {"name": NAME}, "spec": rollouts.SPEC}
        )
        self.record = rollouts.written(made(stored["metadata"]["uid"]))
        objects = self.record["objects"]
        for path, found in objects.items():
            if found["kind"] in ("HTTPRoute", "ConfigMap"):
                await self.kube.create(path.rpartition("/")[0], _fresh(found))
        for number, pod in enumerate(self.record["pods"]):
            await self._pod(pod, f"10.0.0.{number + 1}")
        seen = await self.look()
        owner = Owner(name=NAME, namespace=NAMESPACE, uid=seen.rollout.uid)
        assert seen.workload is not None
        await workload.ensure(self.kube, seen.workload, owner)
        raw = await self.kube.get(names.rollouts_path(NAMESPACE, NAME))
        status = next(f for f in objects.values() if f["kind"] == "IndexCacheRollout")["status"]
        await self.kube.replace(names.rollouts_path(NAMESPACE, NAME, "status"), {**raw, "status": status})
        self.runtime = NEWER

    async def _pod(self, pod: dict[str, Any], ip: str) -> None:
        self.record["engines"][ip] = self.record["engines"].pop(pod["metadata"]["name"])
        path = names.object_path("api/v1", "pods", NAMESPACE, pod["metadata"]["name"])
        spec = {"containers": [{"name": "engine", "image": "i"}]}
        made = await self.kube.create(path.rpartition("/")[0], {"metadata": pod["metadata"], "spec": spec})
        await self.kube.replace(f"{path}/status", {**made, "status": {**pod["status"], "podIP": ip}})

    async def look(self) -> Sighting:
        observer = Observer(
            kube=self.kube,
            session=self.session,
            runtime=self.runtime,
            credentials=CREDENTIALS,
            hugging_face=HuggingFace(self.session, None),
        )
        found = await observer.look(NAMESPACE, NAME, Sight())
        assert found is not None
        now = datetime.fromisoformat(self.record["now"])
        return replace(found, observation=replace(found.observation, now=now))

    async def turn(self) -> int:
        """Look, see that nothing moves, and write the status if that is due. Return how often it was."""
        seen = await self.look()
        assert seen.observation.unread == ()
        made = plan(seen.observation)
        assert [action for action in made.actions if rollouts.moving(seen, action)] == []
        before = seen.observation.status
        assert (made.status.phase, made.status.revision) == (before.phase, before.revision)
        assert made.status.rejected == before.rejected
        if self.writer.kept(before, made.status):
            return 0
        await self.writer.write(self.kube, seen.rollout.raw, made.status)
        return 1


def _fresh(found: dict[str, Any]) -> dict[str, Any]:
    metadata = {k: v for k, v in found["metadata"].items() if k in ("name", "namespace")}
    return {**found, "metadata": metadata}


@pytest.fixture
async def scene(api: Kube, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    async with aiohttp.ClientSession() as session:
        scene = Scene(api, session)

        class Engines:
            def __init__(self, **given: Any) -> None:
                """Take any token."""

            async def ask(self, ip: str, known: str = "") -> Told:
                return Told(state=SPOKEN.read(scene.record["engines"][ip]), tag="")

        monkeypatch.setattr("indexcache_operator.observe.look.Engines", Engines)
        yield scene


@pytest.mark.parametrize("made", [rollouts.promoted, rollouts.rejected])
async def test_a_crd_that_comes_last_moves_and_forgets_nothing(
    scene: Scene, made: Callable[[str], World]
) -> None:
    await established(scene.kube, crd(older))
    await scene.begin(made)
    path = names.rollouts_path(NAMESPACE, NAME)
    assert [await scene.turn() for _ in range(4)][1:] == [0, 0, 0]
    dropped = (await scene.kube.get(path))["status"]
    assert set(ADDED).isdisjoint(dropped)
    await established(scene.kube, crd(lambda parts: None))
    scene.writer = StatusWriter()  # the operator was restarted
    assert [await scene.turn() for _ in range(3)] == [1, 0, 0]
    kept = (await scene.kube.get(path))["status"]
    assert kept["runtime"] == rollouts.RUNTIME.image
    assert kept["uid"] == (await scene.look()).rollout.uid


@pytest.mark.parametrize("made", [rollouts.promoted, rollouts.rejected])
async def test_a_crd_that_comes_first_moves_and_forgets_nothing(
    scene: Scene, made: Callable[[str], World]
) -> None:
    """Its new fields, and even defaults that it stores, make no older operator take anything back."""
    await established(scene.kube, crd(lambda parts: None))
    await scene.begin(made)
    await established(scene.kube, crd(newer))
    writes = [await scene.turn() for _ in range(4)]
    assert writes[1:] == [0, 0, 0]
    assert (await scene.look()).rollout.unknown_fields == ("spec.ofTheNext", "spec.strategy.ofTheNext")

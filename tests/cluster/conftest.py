"""Fixtures of the tests that need a real API server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from indexcache_operator import names
from indexcache_operator.kube import Kube, KubeError

from scripts.generate.crd import CRD_FILE
from tests.cluster import act_world, apiserver
from tests.cluster.scene import ROLLOUT, Scene

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here: it needs the API server."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def binaries() -> Path:
    """Return the folder of the testbed's binaries."""
    folder: Path | None = apiserver.binaries()
    if folder is None:
        pytest.fail(
            "etcd, kube-apiserver, helm, promtool: not found in the cache; build them with `make build`, or "
            "set INDEXCACHE_BIN"
        )
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, binaries: Path) -> Iterator[apiserver.ApiServer]:
    """Run one API server for all tests; each takes a namespace of its own."""
    with apiserver.running(tmp_path_factory.mktemp("apiserver"), binaries) as found:
        yield found


@pytest.fixture
async def kube(server: apiserver.ApiServer) -> AsyncIterator[Kube]:
    """Yield a client of it, with our CRD and HTTPRoute's in place."""
    async with apiserver.client(server.kubeconfig) as client:
        found = Kube(client)
        if server.url not in _ready:
            for crd in (yaml.safe_load(CRD_FILE.read_text()), httproute_crd()):
                await established(found, crd)
            _ready.add(server.url)
        yield found


_ready: set[str] = set()
"""Servers that have the CRDs."""


def httproute_crd() -> dict[str, Any]:
    """Return Gateway API's own definition, out of the gateway's chart."""
    for path in sorted(apiserver.cache().glob("testbed/chart-*/charts/crds/crds/gatewayapi-crds.yaml")):
        documents = yaml.load_all(path.read_text(), yaml.CSafeLoader)
        return next(
            d for d in documents if d and d["metadata"]["name"] == "httproutes.gateway.networking.k8s.io"
        )
    pytest.fail("Gateway API's CRDs: not found in the cache; make them with `make build`")


@pytest.fixture
async def namespace(kube: Kube, request: pytest.FixtureRequest) -> str:
    """Return a namespace of the test's own."""
    made = await kube.create("/api/v1/namespaces", {"metadata": {"generateName": "test-"}})
    name: str = made["metadata"]["name"]
    return name


@pytest.fixture
async def scene(kube: Kube, namespace: str) -> AsyncIterator[Scene]:
    """Yield a scene with its rollout there."""
    async with aiohttp.ClientSession() as session:
        scene = Scene(kube, namespace, session)
        scene.uid = (await kube.create(names.rollouts_path(namespace), ROLLOUT))["metadata"]["uid"]
        yield scene


@pytest.fixture
async def world(kube: Kube, namespace: str) -> AsyncIterator[act_world.World]:
    """Yield the world of a rollout that was only just made."""
    await kube.create(names.rollouts_path(namespace), act_world.ROLLOUT)
    async with aiohttp.ClientSession() as session:
        yield act_world.World(kube, namespace, session)


async def established(kube: Kube, crd: dict[str, Any]) -> None:
    """Apply the CRD, and wait until it is served."""
    path = f"{CRDS}/{crd['metadata']['name']}"
    await kube.apply(path, crd)
    spec = crd["spec"]
    version = next(v["name"] for v in spec["versions"] if v["served"] and v["storage"])
    served = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
    for _ in range(200):
        found = await kube.get(path)
        conditions = {c["type"]: c["status"] for c in (found.get("status") or {}).get("conditions") or []}
        if conditions.get("Established") == "True":
            try:
                await kube.select(served)
                return
            except KubeError:  # not found, or its store is only now made
                pass
        await asyncio.sleep(0.05)
    raise AssertionError(f"{path}: not established: {conditions}")

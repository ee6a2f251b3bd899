"""Common to tests of the loop: one rollout, loops over it that decide as a test says, and a pod."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol

import aiohttp
from indexcache_operator import names
from indexcache_operator.api.status import Status
from indexcache_operator.kube import Kube
from indexcache_operator.loop import RolloutLoop
from indexcache_operator.model import Action, Observation, Plan
from indexcache_operator.observe.hugging_face import HuggingFace
from indexcache_operator.observe.look import Observer
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.workload.render import Runtime

from tests.credentials import CREDENTIALS

ROLLOUT: dict[str, Any] = {
    "apiVersion": "indexcache.dev/v1alpha1",
    "kind": "IndexCacheRollout",
    "metadata": {"name": "r"},
    "spec": {"engine": {"image": "i", "model": "m"}, "indexCache": {"pattern": "FS"}},
}
IDLE = 3600.0
Decide = Callable[[Observation], tuple[Status, list[Action]]]


class HasNamespace(Protocol):
    """Has a namespace of the API server's."""

    kube: Kube
    namespace: str


class Scene:
    """Holds one rollout, and loops over it that decide as the test says."""

    def __init__(self, kube: Kube, namespace: str, session: aiohttp.ClientSession) -> None:
        self.kube, self.namespace, self.session = kube, namespace, session
        self.uid = ""
        self.seen: list[Observation] = []
        self.fresh = asyncio.Event()

    def path(self, subresource: str = "") -> str:
        return names.rollouts_path(self.namespace, "r", subresource)

    async def status(self) -> dict[str, Any]:
        return (await self.kube.get(self.path())).get("status") or {}

    async def write(self, **status: Any) -> None:
        raw = await self.kube.get(self.path())
        await self.kube.replace(self.path("status"), {**raw, "status": {**raw.get("status", {}), **status}})

    def loop(self, decide: Decide, wait: float = IDLE, kube: Any = None) -> RolloutLoop:
        def planner(observation: Observation, memory: Memory | None) -> Plan[Memory]:
            self.seen.append(observation)
            self.fresh.set()
            status, actions = decide(observation)
            return Plan(
                status=status,
                actions=tuple(actions),
                next_look=timedelta(seconds=wait),
                memory=memory or Memory(key=""),
            )

        kube = kube or self.kube
        observer = Observer(
            kube=kube,
            session=self.session,
            runtime=Runtime(image="runtime:1"),
            credentials=CREDENTIALS,
            hugging_face=HuggingFace(self.session, None),
        )
        return RolloutLoop(
            kube=kube,
            session=self.session,
            observer=observer,
            planner=planner,
            namespace=self.namespace,
            name="r",
            uid=self.uid,
        )

    async def eventually(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(60):
            while not await condition():  # noqa: ASYNC110 (the API is what is asked)
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(loop: RolloutLoop) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(loop.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def make_pod(scene: "HasNamespace", annotations: dict[str, str] | None = None) -> None:
    """Make a pod that says it runs. No kubelet is here to make it true."""
    labels = {names.ROLLOUT_LABEL: "r", names.ENGINE_LABEL: "true"}
    path = names.object_path("api/v1", "pods", scene.namespace)
    made = await scene.kube.create(
        path,
        {
            "metadata": {"name": "p", "labels": labels, "annotations": annotations or {}},
            "spec": {"containers": [{"name": "engine", "image": "i"}]},
        },
    )
    status = {"phase": "Running", "podIP": "127.0.0.9", "podIPs": [{"ip": "127.0.0.9"}]}
    await scene.kube.replace(f"{path}/p/status", {**made, "status": status})

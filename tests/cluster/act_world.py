"""Holds the world of a rollout on a real API server, for the tests of single writes."""

from typing import Any

import aiohttp
from indexcache_operator import names
from indexcache_operator.act import workload
from indexcache_operator.act.control_secret import ControlSecret
from indexcache_operator.kube import Kube
from indexcache_operator.model import Sighting
from indexcache_operator.observe.hugging_face import HuggingFace
from indexcache_operator.observe.look import Observer, Sight
from indexcache_operator.workload.render import Owner, Runtime

from tests.credentials import CREDENTIALS

ROLLOUT: dict[str, Any] = {
    "apiVersion": "indexcache.dev/v1alpha1",
    "kind": "IndexCacheRollout",
    "metadata": {"name": "r"},
    "spec": {
        "engine": {"image": "i", "model": "m", "resources": {"requests": {"cpu": 1, "memory": "1024Mi"}}},
        "indexCache": {"pattern": "FS"},
        "traffic": {"httpRoute": {"name": "chat", "rule": "generate"}},
    },
}
RUNTIME = Runtime(image="runtime:1")


class World:
    """Holds one rollout and the ways to look at it."""

    def __init__(self, kube: Kube, namespace: str, session: aiohttp.ClientSession) -> None:
        self.kube, self.namespace = kube, namespace
        self.observer = Observer(
            kube=kube,
            session=session,
            runtime=RUNTIME,
            credentials=CREDENTIALS,
            hugging_face=HuggingFace(session, None),
        )
        self.sight = Sight()

    def path(self, plural: str, name: str, api: str = "api/v1") -> str:
        return names.object_path(api, plural, self.namespace, name)

    async def look(self) -> Sighting:
        look = await self.observer.look(self.namespace, "r", self.sight)
        assert look is not None
        return look

    async def ensure(self) -> Sighting:
        look = await self.look()
        assert look.workload is not None
        assert look.control is not None
        uid = await workload.ensure(self.kube, look.workload, self.owner(look))
        await ControlSecret().make(self.kube, self.namespace, "r", look.control, uid)
        return await self.look()

    async def again(self) -> None:
        """Delete the rollout and make one of the same name: its objects are kept."""
        await workload.release(self.kube, self.owner(await self.look()))
        await self.kube.delete(names.rollouts_path(self.namespace, "r"))
        await self.kube.create(names.rollouts_path(self.namespace), ROLLOUT)
        self.sight = Sight()

    def owner(self, look: Sighting) -> Owner:
        return Owner(name="r", namespace=self.namespace, uid=look.rollout.uid)

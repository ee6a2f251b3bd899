"""An API server in memory, in front of the small world of the plan's tests: what is written there happens in
that world, and what is read there is as that world stands.

It fences as the real one does, by resourceVersion and by uid, and does nothing else: a client that asks for
what isn't here is a mistake of the test.
"""

import asyncio
import copy
from typing import Any

from indexcache_core.contract import Desired, State
from indexcache_operator import names
from indexcache_operator.api import stored
from indexcache_operator.api.base import GROUP, KIND, VERSION
from indexcache_operator.api.spec import Spec
from indexcache_operator.engines import EngineError, Told
from indexcache_operator.kube import Conflict, KubeError, NotFound
from indexcache_operator.mandate import Mandate
from indexcache_operator.objects import Object
from indexcache_runtime.control.switch import CallRefused

from tests.credentials import control
from tests.unit.operator.plan.world import World
from tests.unit.operator.plan.world_parts import NAME, SPEC

NAMESPACE = "ns"
ROLLOUT = names.rollouts_path(NAMESPACE, NAME)
STATUS = names.rollouts_path(NAMESPACE, NAME, "status")
PODS = names.object_path("api/v1", "pods", NAMESPACE)
ROUTE = names.object_path(*names.HTTP_ROUTES, NAMESPACE, "users")
EVENTS, SECRETS = (names.object_path("api/v1", kind, NAMESPACE) for kind in ("events", "secrets"))


class SimulatedApi:
    """Answers as the operator's client does; `fault` may be told of each call before and after it."""

    def __init__(self, world: World) -> None:
        self.spec: Object = SPEC
        world.spec = Spec.model_validate(SPEC)
        self.world = world
        self.version = 1
        self.finalizers: list[str] = []
        self.objects: dict[str, Object] = {}
        """Deployment and Services."""
        self.secrets: set[str] = set()
        self.events: list[str] = []
        self.pod_versions: dict[str, int] = {}
        self.writes = 0

    def under(self, mandate: Mandate) -> "SimulatedApi":
        mandate.left()
        return self

    def looked(self) -> None:
        """Note that a look is over, and nothing done yet."""

    async def get(self, path: str) -> Object:
        await asyncio.sleep(0)
        if path == ROLLOUT:
            if self.world.gone:
                raise NotFound(404, "NotFound", path)
            return self._rollout()
        if path == ROUTE:
            return self._route()
        if path not in self.objects:
            raise NotFound(404, "NotFound", path)
        return copy.deepcopy(self.objects[path])

    async def select(self, path: str, selector: Any = None) -> list[Object]:
        await asyncio.sleep(0)
        assert path == PODS, path
        return [self._pod(name) for name in self.world.pods]

    async def create(self, path: str, body: Object) -> Object:
        await asyncio.sleep(0)
        if path == EVENTS:
            self.events.append(body["reason"])
        else:
            assert path == SECRETS, path
            name = body["metadata"]["name"]
            if name in self.secrets:
                raise Conflict(409, "AlreadyExists", name)
            self.secrets.add(name)
        self.writes += 1
        return body

    async def replace(self, path: str, body: Object) -> Object:
        await asyncio.sleep(0)
        assert path == STATUS, path
        self._same(body["metadata"].get("resourceVersion"), str(self.version))
        self.world.write(stored.read(body["status"]))
        self._wrote()
        return self._rollout()

    async def apply(self, path: str, body: Object, *, dry_run: bool = False, force: bool = True) -> Object:
        await asyncio.sleep(0)
        found = self.objects.get(path)
        given = body["metadata"].get("resourceVersion")
        if given is not None:
            self._same(given, found["metadata"]["resourceVersion"] if found else None)
        changed = found is None or found["spec"] != body["spec"]
        generation = (found["metadata"]["generation"] if found else 0) + changed
        metadata = {**body["metadata"], "generation": generation, "uid": f"uid of {path}"}
        if dry_run:
            return {**body, "metadata": {**metadata, "resourceVersion": "0"}}
        self._wrote()
        self.objects[path] = copy.deepcopy(
            {**body, "metadata": {**metadata, "resourceVersion": str(self.version)}}
        )
        if body["kind"] == "Deployment" and changed:
            self.world.deploy()
        return copy.deepcopy(self.objects[path])

    async def patch(self, path: str, body: Any, *, kind: str = "") -> Object:
        await asyncio.sleep(0)
        if path == ROUTE:
            self._same(body[0]["value"], str(self.world.route_generation))
            self.world.set_route(tuple(body[2]["value"]))
            self._wrote()
            return self._route()
        metadata = body["metadata"]
        if path == ROLLOUT:
            self._same(metadata["resourceVersion"], str(self.version))
            self.finalizers = metadata["finalizers"] or []
            self.world.gone = self.world.deleting and not self.finalizers
            self._wrote()
            return self._rollout()
        if path in self.objects:
            self._same(metadata["resourceVersion"], self.objects[path]["metadata"]["resourceVersion"])
            self._wrote()
            kept = {**self.objects[path]["metadata"], "ownerReferences": metadata["ownerReferences"]}
            self.objects[path]["metadata"] = {**kept, "resourceVersion": str(self.version)}
            return copy.deepcopy(self.objects[path])
        name = path.removeprefix(f"{PODS}/")
        if name not in self.world.pods:
            raise NotFound(404, "NotFound", path)
        self._same(metadata["resourceVersion"], self._pod(name)["metadata"]["resourceVersion"])
        pod, labels = self.world.pods[name], metadata["labels"]
        pod.baseline, pod.canary = bool(labels[names.BASELINE_LABEL]), bool(labels[names.CANARY_LABEL])
        self._wrote()
        self.pod_versions[name] = self.version
        return self._pod(name)

    async def delete(self, path: str, *, uid: str | None = None) -> None:
        await asyncio.sleep(0)
        found = self.objects.get(path)
        if found is None:
            return
        self._same(uid, found["metadata"]["uid"])
        del self.objects[path]
        if found["kind"] == "Deployment":
            self.world.deleted, self.world.pods = True, {}
        self._wrote()

    def _wrote(self) -> None:
        self.version += 1
        self.writes += 1

    def _same(self, given: str | None, present: str | None) -> None:
        if given != present:
            raise Conflict(409, "Conflict", f"found version {present}; expected {given}")

    def _rollout(self) -> Object:
        metadata = {
            "name": NAME,
            "namespace": NAMESPACE,
            "uid": self.world.uid,
            "resourceVersion": str(self.version),
            "generation": self.world.generation,
            "annotations": dict(self.world.annotations),
            "finalizers": list(self.finalizers),
        }
        if self.world.deleting:
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        kind = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND}
        return {**kind, "metadata": metadata, "spec": self.spec, "status": stored.dump(self.world.status)}

    def _route(self) -> Object:
        number = self.world.route_generation
        conditions = [
            {"type": type_, "status": "True", "observedGeneration": number}
            for type_ in ("Accepted", "ResolvedRefs")
        ]
        metadata = {
            "name": "users",
            "namespace": NAMESPACE,
            "generation": number,
            "resourceVersion": str(number),
        }
        rule = {"name": "generate", "backendRefs": copy.deepcopy(list(self.world.backends))}
        parents = [{"controllerName": "example.org/gateway", "conditions": conditions}]
        return {"metadata": metadata, "spec": {"rules": [rule]}, "status": {"parents": parents}}

    def _pod(self, name: str) -> Object:
        pod = self.world.pods[name]
        (deployment,) = (o for o in self.objects.values() if o["kind"] == "Deployment")
        template = deployment["spec"]["template"]["metadata"]["labels"][names.TEMPLATE_LABEL]
        labels = {
            names.ROLLOUT_LABEL: NAME,
            names.ENGINE_LABEL: "true",
            names.TEMPLATE_LABEL: template,
        }
        labels |= {names.BASELINE_LABEL: "true"} if pod.baseline else {}
        labels |= {names.CANARY_LABEL: "true"} if pod.canary else {}
        guard = control(NAMESPACE, NAME, self.world.uid)
        metadata = {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid of {name}",
            "resourceVersion": str(self.pod_versions.setdefault(name, self.version)),
            "labels": labels,
            "annotations": {names.CONTROL_ANNOTATION: str(guard.binding)},
        }
        ready = {"type": "Ready", "status": "True" if pod.ready else "False"}
        return {"metadata": metadata, "status": {"phase": "Running", "podIP": name, "conditions": [ready]}}


class SimulatedEngines:
    """Stands for the control ports: those of the world's pods, by their names."""

    world: World

    def __init__(self, *, mandate: Mandate | None = None, **_: Any) -> None:
        self._mandate = mandate

    async def state(self, ip: str) -> State:
        await asyncio.sleep(0)
        return self.world.state(self.world.pods[ip])

    async def ask(self, ip: str, known: str = "") -> Told:
        return Told(state=await self.state(ip), tag="")

    async def put(self, ip: str, desired: Desired, contract: int) -> State:
        await asyncio.sleep(0)
        if self._mandate is not None:
            self._mandate.left()
        try:
            self.world.pods[ip].switch.put(desired, self.world.now.timestamp())
        except CallRefused as error:
            raise EngineError(str(error), error.refused.code) from None
        return self.world.state(self.world.pods[ip])

    async def kill(self, ip: str, reason: str) -> None:
        await asyncio.sleep(0)
        self.world.pods[ip].switch.kill(reason)


def refused(status: int) -> KubeError:
    """Return an error as the client makes one of a status."""
    return (Conflict if status == 409 else KubeError)(status, "Injected", "refused by this test")

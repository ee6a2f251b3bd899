"""Makes a cluster's objects for many promoted rollouts: rollouts with the status of a promotion, a route for
each, and the pods that a Deployment would have made.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from indexcache_operator import names
from indexcache_operator.api import stored
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import Phase, ReachStatus, Status
from indexcache_operator.credentials import Control
from indexcache_operator.kube import Kube
from indexcache_operator.plan.facts.reach import UNBOUNDED
from indexcache_operator.plan.facts.revision import revision
from indexcache_operator.workload.render import Owner, Runtime, render

from benchmarks.report import say
from benchmarks.scale_engines import PATTERN
from tests.credentials import control

RUNTIME = Runtime(image="runtime:1")
A_NAMESPACE = 100
"""Rollouts of one namespace."""
AT_ONCE = 16
"""Requests under way."""
SPEC: dict[str, Any] = {
    "engine": {
        "image": "vllm/vllm-openai:v0.33.0",
        "model": "zai-org/GLM-5",
        "args": ["--max-model-len=65536", "--tensor-parallel-size=8"],
        "resources": {"limits": {"nvidia.com/gpu": 8}},
        "template": {"spec": {"tolerations": [{"key": "gpu", "operator": "Exists"}]}},
    },
    "indexCache": {"pattern": PATTERN},
    "guardrails": {"recall": {"min": 0.5}},
}


@dataclass(frozen=True)
class Made:
    """A rollout that was made, and its engines' addresses."""

    namespace: str
    name: str
    uid: str
    addresses: tuple[str, ...]

    @property
    def engines(self) -> list[dict[str, str]]:
        """Return its engines as the stand-ins read them."""
        token = control(self.namespace, self.name, self.uid).token
        return [{"address": address, "token": token} for address in self.addresses]


def address(number: int) -> str:
    """Return the address of an engine, by its number: one of the loopback's own network."""
    return f"127.{100 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"


async def make(kube: Kube, rollouts: int, engines: int) -> list[Made]:
    """Make so many rollouts with so many engines each."""
    spaces = [f"scale-{number}" for number in range((rollouts + A_NAMESPACE - 1) // A_NAMESPACE)]
    for namespace in spaces:
        await kube.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    done: list[Made] = []

    async def one(number: int) -> None:
        first = number * engines
        done.append(
            await _rollout(
                kube,
                spaces[number // A_NAMESPACE],
                f"chat-{number}",
                tuple(address(first + i) for i in range(engines)),
            )
        )
        if len(done) % 100 == 0:
            say(f"made {len(done)} of {rollouts} rollouts")

    await _bounded(one(number) for number in range(rollouts))
    return done


async def _bounded(work: "Iterable[Coroutine[Any, Any, None]]") -> None:
    free = asyncio.Semaphore(AT_ONCE)

    async def one(job: Coroutine[Any, Any, None]) -> None:
        async with free:
            await job

    await asyncio.gather(*(one(job) for job in work))


async def _rollout(kube: Kube, namespace: str, name: str, addresses: tuple[str, ...]) -> Made:
    written = {
        **SPEC,
        "engine": {**SPEC["engine"], "replicas": len(addresses)},
        "traffic": {"httpRoute": {"name": name, "rule": "generate"}},
    }
    spec = Spec.model_validate(written)
    await kube.create(names.object_path(*names.HTTP_ROUTES, namespace), _route(name))
    path = names.rollouts_path(namespace)
    raw = await kube.create(
        path,
        {
            "apiVersion": "indexcache.dev/v1alpha1",
            "kind": "IndexCacheRollout",
            "metadata": {"name": name, "finalizers": [names.FINALIZER]},
            "spec": written,
        },
    )
    uid = raw["metadata"]["uid"]
    now = datetime.now(UTC)
    status = Status(
        uid=uid,
        observed_generation=raw["metadata"]["generation"],
        phase=Phase.PROMOTED,
        message="Reuse runs on every pod; watched on",
        revision=revision(spec),
        runtime=RUNTIME.image,
        phase_started_at=now,
        revision_started_at=now,
        epoch=1,
        reach=ReachStatus(tokens=UNBOUNDED, canary_tokens=UNBOUNDED),
    )
    await kube.replace(f"{path}/{name}/status", {**raw, "status": stored.dump(status)})
    owner = Owner(name=name, namespace=namespace, uid=uid)
    template = render(spec, owner, RUNTIME, _guard(owner)).deployment["spec"]["template"]
    for number, ip in enumerate(addresses):
        await _pod(kube, namespace, f"{name}-{number}", template, ip)
    return Made(namespace, name, uid, addresses)


def _guard(owner: Owner) -> Control:
    return control(owner.namespace, owner.name, owner.uid)


def _route(name: str) -> dict[str, Any]:
    backend = {"name": names.baseline_service(name), "port": 8000}
    rule = {"name": "generate", "timeouts": {"request": "60s"}, "backendRefs": [backend]}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {"parentRefs": [{"name": "gateway"}], "rules": [rule]},
    }


async def _pod(kube: Kube, namespace: str, name: str, template: dict[str, Any], ip: str) -> None:
    path = names.object_path("api/v1", "pods", namespace)
    made = await kube.create(
        path, {"metadata": {"name": name, **template["metadata"]}, "spec": template["spec"]}
    )
    status = {
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    await kube.replace(f"{path}/{name}/status", {**made, "status": status})

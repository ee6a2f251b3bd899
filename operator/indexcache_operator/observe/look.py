"""One look at everything that a decision about a rollout may rest on. Reads only.

All reads of one look go out together, but that engines can be asked only once their addresses are known. What can't be read because it
isn't there is part of the answer; what can't be read because the API is unwell is an error, and no decision is made of it.
"""

import asyncio
import base64
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
from indexcache_core import arguments
from indexcache_core.contract import State

from indexcache_operator import names
from indexcache_operator.api.spec import Spec
from indexcache_operator.engines import EngineError, Engines
from indexcache_operator.kube import Kube, NotFound
from indexcache_operator.model import EnginePod, Observation, ProbeResult, ProbeSet, Rollout, Route, Sighting
from indexcache_operator.objects import Object
from indexcache_operator.observe import drift, gateway, pods, probes
from indexcache_operator.observe.hub import Hub
from indexcache_operator.observe.rollout import read
from indexcache_operator.workload.merge import MergeError
from indexcache_operator.workload.render import Owner, Runtime, Workload, render

PROBES_SECONDS = 30.0
"""How long a ConfigMap of probes, which may be large, is believed."""


@dataclass(kw_only=True)
class Sight:
    """What one rollout's looks remember: caches, never a decision's ground."""

    confirmed: drift.Confirmed = field(default_factory=drift.Confirmed)
    probes: tuple[float, str, ProbeSet] | None = None


@dataclass(frozen=True, kw_only=True)
class Observer:
    """Looks at rollouts."""

    kube: Kube
    session: aiohttp.ClientSession
    runtime: Runtime
    hub: Hub

    async def look(self, namespace: str, name: str, sight: Sight, results: tuple[ProbeResult, ...] = ()) -> Sighting | None:
        """Everything about one rollout; None if it is gone. KubeError, UnreadableStatus."""
        try:
            rollout = read(await self.kube.get(names.rollouts_path(namespace, name)))
        except NotFound:
            return None
        workload, problem = self._wanted(rollout)
        objects, (route, probe_set, config) = await asyncio.gather(self._objects(namespace, name), self._givens(rollout, sight))
        current = False
        if workload is not None and objects.token is not None:
            current = await drift.current(self.kube, workload, objects.deployment, objects.services, sight.confirmed)
        observation = Observation(
            now=datetime.now(UTC),
            name=name,
            namespace=namespace,
            uid=rollout.uid,
            generation=rollout.generation,
            annotations=rollout.annotations,
            deleting=rollout.deleting,
            spec=None if problem else rollout.spec,
            spec_problem=problem,
            status=rollout.status,
            workload_current=current,
            pods=await self._pods(objects),
            route=route,
            probes=probe_set,
            probe_results=results,
            model_config=config,
        )
        addresses = {pod["metadata"]["name"]: ip for pod in objects.pods if (ip := pods.askable(pod))}
        return Sighting(
            observation=observation,
            rollout=rollout,
            route=gateway.where(rollout),
            workload=workload,
            token=objects.token,
            api_key=completions_key(rollout.spec) if rollout.spec else None,
            addresses=addresses,
        )

    async def _objects(self, namespace: str, name: str) -> "_Objects":
        labels = {names.ROLLOUT_LABEL: name, names.ENGINE_LABEL: "true"}
        deployment, baseline, canary, secret, found = await asyncio.gather(
            self._get(names.object_path("apis/apps/v1", "deployments", namespace, name)),
            self._get(names.object_path("api/v1", "services", namespace, names.baseline_service(name))),
            self._get(names.object_path("api/v1", "services", namespace, names.canary_service(name))),
            self._get(names.object_path("api/v1", "secrets", namespace, names.secret(name))),
            self.kube.select(names.object_path("api/v1", "pods", namespace), labels),
        )
        return _Objects(deployment=deployment, services=(baseline, canary), token=_token(secret), pods=found)

    async def _givens(self, rollout: Rollout, sight: Sight) -> tuple[Route | None, ProbeSet | None, Object | None]:
        return await asyncio.gather(self._route(rollout), self._probes(rollout, sight), self._config(rollout))

    def _wanted(self, rollout: Rollout) -> tuple[Workload | None, str | None]:
        if rollout.spec is None:
            return None, rollout.spec_problem
        try:
            return render(rollout.spec, Owner(name=rollout.name, namespace=rollout.namespace, uid=rollout.uid), self.runtime), None
        except MergeError as error:
            return None, str(error)

    async def _get(self, path: str) -> Object | None:
        try:
            return await self.kube.get(path)
        except NotFound:
            return None

    async def _route(self, rollout: Rollout) -> Route | None:
        """The route that the rollout has changed, if it has; else the one that its spec names."""
        where = gateway.where(rollout)
        if where is None:
            return gateway.nowhere(rollout)
        raw = await self._get(names.object_path(*names.HTTP_ROUTES, rollout.namespace, where.name))
        return gateway.read(raw, where, rollout.namespace)

    async def _probes(self, rollout: Rollout, sight: Sight) -> ProbeSet | None:
        quality = rollout.spec.guardrails.quality if rollout.spec else None
        if quality is None:
            return None
        name, now = quality.probes.config_map, time.monotonic()
        if sight.probes is None or sight.probes[1] != name or now - sight.probes[0] > PROBES_SECONDS or sight.probes[2].problem:
            raw = await self._get(names.object_path("api/v1", "configmaps", rollout.namespace, name))
            sight.probes = (now, name, probes.read(raw, name, rollout.namespace))
        return sight.probes[2]

    async def _config(self, rollout: Rollout) -> Object | None:
        return await self.hub.config(rollout.spec.engine.model) if rollout.spec else None

    async def _pods(self, objects: "_Objects") -> tuple[EnginePod, ...]:
        template = (objects.deployment or {}).get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {})
        engines = Engines(session=self.session, token=objects.token) if objects.token else None
        answers = await asyncio.gather(*(_ask(engines, pods.askable(pod)) for pod in objects.pods))
        found = (
            pods.engine_pod(pod, template=template.get(names.TEMPLATE_LABEL), state=state, error=error)
            for pod, (state, error) in zip(objects.pods, answers, strict=True)
        )
        return tuple(sorted(found, key=lambda pod: pod.name))


@dataclass(frozen=True, kw_only=True)
class _Objects:
    deployment: Object | None
    services: tuple[Object | None, Object | None]
    token: str | None
    pods: list[Object]


async def _ask(engines: Engines | None, ip: str | None) -> tuple[State | None, str | None]:
    if engines is None:
        return None, "the control token is not there yet"
    if ip is None:
        return None, "the pod does not run yet, or no longer"
    try:
        return await engines.state(ip), None
    except EngineError as error:
        return None, str(error)


def _token(secret: Object | None) -> str | None:
    encoded = ((secret or {}).get("data") or {}).get(names.TOKEN_KEY)
    return base64.b64decode(encoded).decode() if encoded else None


def completions_key(spec: Spec) -> str | None:
    """Return the key that vLLM asks of users, where the spec's arguments say it."""
    option = arguments.last(arguments.parse(spec.engine.args), "--api-key")
    return option.value if option else None

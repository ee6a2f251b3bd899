"""Takes one look at everything that a decision about a rollout may rest on. Reads only.

Objects come from informers while these are current, but for the rollout itself: while users are exposed or
brought back it is read anew in each look, so that a kill waits for no watch, and a look without the API
server fails. All reads of one look go out together, but that engines can be asked only once their addresses
are known. What can't be read because it isn't there is part of the answer. What can't be read because the API
refuses it is unknown, and named in the observation: the way back must not wait for a ConfigMap. Only without
the rollout or its pods there is nothing to decide on, and the look is an error.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import aiohttp
from indexcache_core import arguments

from indexcache_operator import names
from indexcache_operator.api.spec import HttpRoute, Spec
from indexcache_operator.credentials import Control, Credentials
from indexcache_operator.engines import Engines
from indexcache_operator.informers.reads import Reads, ToldReads
from indexcache_operator.kube import Kube, NotFound
from indexcache_operator.model import Observation, ProbeResult, ProbeSet, Rollout, Route, Sighting
from indexcache_operator.objects import Object
from indexcache_operator.observe import asking, bindings, drift, gateway, pods, probes, runtime, unchanged
from indexcache_operator.observe.asking import Answer
from indexcache_operator.observe.claims import Claims
from indexcache_operator.observe.found import Objects, Unread, engine_pods, known_object
from indexcache_operator.observe.hugging_face import HuggingFace
from indexcache_operator.observe.reads import Readings
from indexcache_operator.observe.rollout import at_rest, read
from indexcache_operator.observe.unchanged import Basis, Unchanged
from indexcache_operator.workload.merge import TemplateError
from indexcache_operator.workload.pod import selector
from indexcache_operator.workload.render import Owner, Runtime, Workload, render

PROBES_SECONDS = 30.0
"""How long a ConfigMap of probes, which may be large, is believed."""


@dataclass(kw_only=True)
class Sight:
    """Keeps what one rollout's looks remember: caches, never a decision's ground."""

    confirmed: drift.Confirmed = field(default_factory=drift.Confirmed)
    probes: tuple[float, str, ProbeSet] | None = None
    route: tuple[HttpRoute, Route] | None = None
    """As last read, and which it is."""
    control: Control | None = None
    """What last guarded the engines of the Deployment."""
    term: int = 0
    """Of the lead under which was last looked."""
    basis: Basis | None = None
    """What the last look saw, if it was at a rollout at rest all of whose engines answered."""


@dataclass(frozen=True, kw_only=True)
class Observer:
    """Looks at rollouts."""

    kube: Kube
    session: aiohttp.ClientSession
    runtime: Runtime
    credentials: Credentials
    hugging_face: HuggingFace
    claims: Claims = field(default_factory=Claims)
    """Which rollout has which rule of which route."""
    informed: ToldReads | None = None
    """Where most reads go; None: all go to the API server."""

    @property
    def reads(self) -> Reads:
        """Return where most reads go."""
        return self.informed or self.kube

    async def look(
        self,
        namespace: str,
        name: str,
        sight: Sight,
        results: tuple[ProbeResult, ...] = (),
        *,
        term: int = 0,
    ) -> Sighting | None:
        """Return everything about one rollout; None if it is gone. `term`: of the lead of whoever looks.

        Raises KubeError, UnreadableStatus.
        """
        return await self._look(namespace, name, sight, results, term, {})

    async def look_again(
        self,
        namespace: str,
        name: str,
        sight: Sight,
        results: tuple[ProbeResult, ...] = (),
        *,
        term: int = 0,
    ) -> Sighting | Unchanged | None:
        """Return the same, or that a look would see nothing but that time has passed since the last one."""
        last = sight.basis
        if last is None or self.informed is None or results or sight.term != term:
            return await self._look(namespace, name, sight, results, term, {})
        keys, where = self.credentials.keys(), last.held.where
        held = unchanged.told(self.informed, self.claims, keys, namespace, name, where)
        if held is None or not held.same(last.held):
            return await self._look(namespace, name, sight, results, term, {})
        engines = Engines(session=self.session, tokens=bindings.tokens(dict(last.guards)))
        answers = await unchanged.asked_again(engines, last)
        if all(answer.is_as_before for answer in answers.values()):
            return unchanged.UNCHANGED
        return await self._look(namespace, name, sight, results, term, answers)

    async def _look(
        self,
        namespace: str,
        name: str,
        sight: Sight,
        results: tuple[ProbeResult, ...],
        term: int,
        known: Mapping[str, Answer],
    ) -> Sighting | None:
        sight.basis = None
        try:
            path = names.rollouts_path(namespace, name)
            rollout = read(await self._rollout(path, anew=sight.term != term))
            sight.term = term
        except NotFound:
            return None
        held = unchanged.begun(self.informed, self.claims, self.credentials.keys(), rollout)
        reads = Readings()
        objects, (route, probe_set, config) = await asyncio.gather(
            self._objects(rollout, reads), self._givens(rollout, sight, reads)
        )
        control = await reads.maybe("the control token", self._control(rollout, objects, sight), None)
        guards = bindings.by_address(
            self.credentials, namespace=namespace, name=name, pods=objects.pods, otherwise=control
        )
        plugin = runtime.pinned(rollout, objects.deployment, self.runtime)
        workload, problem = self._wanted(rollout, plugin, control)
        current = control is None  # nothing can be applied then, and nothing is known to differ
        if workload is not None:
            current, refused = await self._current(workload, objects, sight, reads)
            problem = problem or refused
        engines = Engines(session=self.session, tokens=bindings.tokens(guards))
        answers = await asking.ask(engines, guards, objects.pods, known)
        if not reads.failed():
            sight.basis = unchanged.basis(held, guards, objects.pods, answers)
        observation = Observation(
            now=datetime.now(UTC),
            uptime=time.monotonic(),
            name=name,
            namespace=namespace,
            uid=rollout.uid,
            generation=rollout.generation,
            annotations=rollout.annotations,
            deleting=rollout.deleting,
            spec=None if problem else rollout.spec,
            spec_problem=problem,
            unknown_fields=rollout.unknown_fields,
            route_holder=self.claims.other(rollout),
            status=rollout.status,
            term=term,
            pinned_runtime="" if objects.unknown else plugin.image,
            offered_runtime=self.runtime.image,
            workload_current=current,
            pods=engine_pods(objects, answers),
            route=route,
            probes=probe_set,
            probe_results=results,
            model_config=config,
            unread=reads.failed(),
        )
        addresses = {pod["metadata"]["name"]: ip for pod in objects.pods if (ip := pods.askable(pod))}
        return Sighting(
            observation=observation,
            rollout=rollout,
            route=gateway.where(rollout),
            workload=workload,
            control=control,
            deployment_uid=objects.deployment_uid(name),
            tokens=bindings.tokens(guards),
            api_key=completions_key(rollout.spec) if rollout.spec else None,
            addresses=addresses,
            pods={pod["metadata"]["name"]: pod["metadata"] for pod in objects.pods},
        )

    async def glance(self, namespace: str, name: str) -> Object | None:
        """Return the rollout alone, as its watch told it last; None if it is gone. Raises KubeError."""
        path = names.rollouts_path(namespace, name)
        with suppress(NotFound):
            return await self._told(path) or await self.kube.get(path)
        return None

    async def _rollout(self, path: str, *, anew: bool) -> Object:
        """Return the rollout: at rest as its watch told it last, else as it is now. Raises NotFound,
        KubeError. `anew`: in any case as it is now, as another led until then.
        """
        raw = None if anew else await self._told(path)
        return raw if raw is not None and at_rest(raw) else await self.kube.get(path)

    async def _told(self, path: str) -> Object | None:
        """Return a rollout as its watch told it last; None if it tells none, as of one made just now."""
        with suppress(NotFound):
            return await self.informed.get(path) if self.informed is not None else None
        return None

    async def _objects(self, rollout: Rollout, reads: Readings) -> Objects:
        namespace, name = rollout.namespace, rollout.name
        deployment, baseline, canary, found = await asyncio.gather(
            self._object(reads, "Deployment", "apis/apps/v1", "deployments", namespace, name),
            self._object(reads, "Service", "api/v1", "services", namespace, names.baseline_service(name)),
            self._object(reads, "Service", "api/v1", "services", namespace, names.canary_service(name)),
            self.reads.select(names.object_path("api/v1", "pods", namespace), selector(name)),
        )
        unknown = any(isinstance(part, Unread) for part in (deployment, baseline, canary))
        return Objects(
            deployment=known_object(deployment),
            services=(known_object(baseline), known_object(canary)),
            unknown=unknown,
            pods=[pod for pod in found if not pods.ended(pod)],
        )

    async def _object(
        self, reads: Readings, kind: str, api: str, plural: str, namespace: str, name: str
    ) -> Object | Unread | None:
        reading = self._get(names.object_path(api, plural, namespace, name))
        return await reads.maybe(f"{kind} {name}", reading, Unread())

    async def _givens(
        self, rollout: Rollout, sight: Sight, reads: Readings
    ) -> tuple[Route | None, ProbeSet | None, Object | None]:
        return await asyncio.gather(
            self._route(rollout, sight, reads),
            self._probes(rollout, sight, reads),
            reads.maybe("the model's config", self._config(rollout), None),
        )

    async def _control(self, rollout: Rollout, objects: Objects, sight: Sight) -> Control:
        """Return what guards the Deployment's engines, as was last known where it can't be read. Raises
        UnknownKey.
        """
        if sight.control is None or not objects.unknown:
            sight.control = bindings.of_deployment(
                self.credentials,
                namespace=rollout.namespace,
                name=rollout.name,
                uid=rollout.uid,
                deployment=objects.deployment,
            )
        return sight.control

    def _wanted(
        self, rollout: Rollout, plugin: Runtime, control: Control | None
    ) -> tuple[Workload | None, str | None]:
        if rollout.spec is None or control is None:
            return None, rollout.spec_problem
        owner = Owner(name=rollout.name, namespace=rollout.namespace, uid=rollout.uid)
        try:
            return render(rollout.spec, owner, runtime.wanted(rollout, plugin), control), None
        except TemplateError as error:
            return None, str(error)

    async def _current(
        self, workload: Workload, objects: Objects, sight: Sight, reads: Readings
    ) -> tuple[bool, str | None]:
        """Return whether the objects are as wanted, and why they can't be where the API server refuses
        them.
        """
        if objects.unknown:
            return True, None  # nothing is known to differ
        checking = drift.current(self.kube, workload, objects.deployment, objects.services, sight.confirmed)
        return await reads.maybe(
            f"Deployment {workload.deployment['metadata']['name']}", checking, (False, None)
        )

    async def _get(self, path: str) -> Object | None:
        try:
            return await self.reads.get(path)
        except NotFound:
            return None

    async def _route(self, rollout: Rollout, sight: Sight, reads: Readings) -> Route | None:
        """Return the route that the rollout has changed, if it has; else the one that its spec names.

        One that can't be read is as it was last seen, but for its acceptance: nothing waits for less than a
        read that succeeds.
        """
        where = gateway.where(rollout)
        if where is None:
            return gateway.nowhere(rollout)

        async def reading() -> Route:
            raw = await self._get(names.object_path(*names.HTTP_ROUTES, rollout.namespace, where.name))
            return gateway.read(raw, where, rollout.namespace)

        last = sight.route[1] if sight.route is not None and sight.route[0] == where else Route(found=True)
        route = await reads.maybe(
            f"HTTPRoute {where.name}", reading(), replace(last, accepted_generation=None, unread=True)
        )
        if not route.unread:
            sight.route = (where, route)
        return route

    async def _probes(self, rollout: Rollout, sight: Sight, reads: Readings) -> ProbeSet | None:
        quality = rollout.spec.guardrails.quality if rollout.spec else None
        if quality is None:
            return None
        name, now = quality.probes.config_map, time.monotonic()
        if (
            sight.probes is None
            or sight.probes[1] != name
            or now - sight.probes[0] > PROBES_SECONDS
            or sight.probes[2].problem
        ):

            async def reading() -> ProbeSet:
                raw = await self._get(names.object_path("api/v1", "configmaps", rollout.namespace, name))
                return probes.read(raw, name, rollout.namespace)

            last = sight.probes[2] if sight.probes is not None and sight.probes[1] == name else None
            unread = ProbeSet(problem=f"ConfigMap {name} can't be read; condition OperatorHealthy says why")
            sight.probes = (now, name, await reads.maybe(f"ConfigMap {name}", reading(), last or unread))
        return sight.probes[2]

    async def _config(self, rollout: Rollout) -> Object | None:
        return await self.hugging_face.config(rollout.spec.engine.model) if rollout.spec else None


def completions_key(spec: Spec) -> str | None:
    """Return the key that vLLM asks of users, where the spec's arguments say it."""
    option = arguments.last(arguments.parse(spec.engine.args), "--api-key")
    return option.value if option else None

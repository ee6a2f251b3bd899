"""The end of an operator without an end of its rollouts: reuse off, routes as their users had them,
finalizers gone, engines at the baseline.

An uninstall runs this before it deletes anything. The operator is stopped first, since it would take the
rollouts up again. What is done is what the planner does for a rollout that is being deleted with policy
Retain, but that the rollout stays and so stays its objects' owner. A rollout that isn't done in time is let
go all the same: without an operator its engines' permits lapse.
"""

import asyncio
import logging
import time
from dataclasses import dataclass, replace

import aiohttp

from indexcache_operator import names
from indexcache_operator.act import finalizer
from indexcache_operator.act.perform import Performer
from indexcache_operator.act.status import StatusWriter
from indexcache_operator.api.spec import DeletionPolicy
from indexcache_operator.believing import Planner, plan_believing
from indexcache_operator.kube import Conflict, Kube, NotFound
from indexcache_operator.model import EnsureWorkload, ReleaseWorkload, RemoveFinalizer, Sighting
from indexcache_operator.observe.look import Observer, Sight
from indexcache_operator.probing.prober import Prober

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Releaser:
    """Releases rollouts."""

    kube: Kube
    session: aiohttp.ClientSession
    observer: Observer
    planner: Planner

    async def all(self, namespaces: tuple[str, ...], seconds: float) -> bool:
        """Release every rollout of these namespaces (none: of all), at once. Return whether each was at its
        baseline in time.

        Raises an ExceptionGroup of what kept rollouts from being let go, once all others are.
        """
        raw = [r for n in namespaces or (None,) for r in await self.kube.select(names.rollouts_path(n))]
        held = [r["metadata"] for r in raw if names.FINALIZER in (r["metadata"].get("finalizers") or [])]
        results = await asyncio.gather(
            *(self.one(m["namespace"], m["name"], seconds) for m in held), return_exceptions=True
        )
        for metadata, result in zip(held, results, strict=True):
            if isinstance(result, BaseException):
                logger.error("%s/%s: not let go: %s", metadata["namespace"], metadata["name"], result)
        failures = [result for result in results if isinstance(result, Exception)]
        logger.info(
            "%d rollouts released, %d of them not confirmed at the baseline",
            len(held) - len(failures),
            results.count(False),
        )
        if failures:
            raise ExceptionGroup("rollouts that were not let go; run `release` again", failures)
        return all(results)

    async def one(self, namespace: str, name: str, seconds: float) -> bool:
        """Release one rollout. Raises KubeError if it can't be let go."""
        deadline = time.monotonic() + seconds
        performer = Performer(
            kube=self.kube,
            session=self.session,
            writer=StatusWriter(),
            prober=Prober(f"{namespace}/{name}", lambda: None),
        )
        sight, memory = Sight(), None
        while time.monotonic() < deadline:
            try:
                sighting = await self.observer.look(namespace, name, sight)
                if sighting is None or not sighting.rollout.held:
                    return True
                leaving = _leaving(sighting)
                made, _ = plan_believing(self.planner, leaving.observation, memory)
                memory = made.memory
                actions = tuple(
                    a for a in made.actions if not isinstance(a, ReleaseWorkload | EnsureWorkload)
                )
                await performer.perform(leaving, replace(made, actions=actions))
                if any(isinstance(action, RemoveFinalizer) for action in actions):
                    return True
            except Exception as error:  # noqa: BLE001 (whatever it is, it is tried again until the time is over)
                logger.warning("%s/%s: not released yet: %s", namespace, name, error)
            await asyncio.sleep(POLL_SECONDS)
        logger.error(
            "%s/%s: not confirmed at the baseline in %g s; let go, its permits lapse",
            namespace,
            name,
            seconds,
        )
        await self._let_go(namespace, name)
        return False

    async def _let_go(self, namespace: str, name: str) -> None:
        while True:
            try:
                await finalizer.let_go(self.kube, await self.kube.get(names.rollouts_path(namespace, name)))
            except Conflict:
                continue
            except NotFound:
                return
            else:
                return


def _leaving(sighting: Sighting) -> Sighting:
    """Return the same sighting, as if the rollout were being deleted and its engines kept."""
    observation = replace(sighting.observation, deleting=True)
    if observation.spec is not None:
        kept = observation.spec.model_copy(update={"deletion_policy": DeletionPolicy.RETAIN})
        observation = replace(observation, spec=kept)
    return replace(sighting, observation=observation)


async def stop_operator(kube: Kube, namespace: str, deployment: str, seconds: float) -> None:
    """Scale the operator to nothing and wait until its pods are gone. Raises KubeError; TimeoutError if they
    stay.
    """
    path = names.object_path("apis/apps/v1", "deployments", namespace, deployment)
    try:
        found = await kube.get(path)
    except NotFound:
        return
    await kube.patch(f"{path}/scale", {"spec": {"replicas": 0}})
    selector = found["spec"]["selector"]["matchLabels"]
    async with asyncio.timeout(seconds):
        while await kube.select(names.object_path("api/v1", "pods", namespace), selector):  # noqa: ASYNC110 (the API is what is asked)
            await asyncio.sleep(POLL_SECONDS)

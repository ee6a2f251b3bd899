"""Kills by whoever sees that they are wanted: where a rollout's status can't be read, so that no plan can be
made, and by operators that don't lead. They need its pods, and nothing else.

The leader does the same by its plan, and the rest of the way back besides. Its kill and this one are the same
to an engine: it is told the cause in the same words, so that whoever plans next finds it there.
"""

import asyncio

import aiohttp
from indexcache_core.contract import Mode

from indexcache_operator import names
from indexcache_operator.api.status import Phase
from indexcache_operator.credentials import Control, Credentials
from indexcache_operator.engines import EngineError, Engines
from indexcache_operator.kube import Kube
from indexcache_operator.objects import Object
from indexcache_operator.observe import bindings, pods
from indexcache_operator.observe.rollout import UnreadableStatus, read
from indexcache_operator.plan.facts.revision import KILL, killed
from indexcache_operator.plan.phases.triggers import ENGAGED
from indexcache_operator.workload.pod import selector

UNREADABLE = f"annotation {KILL}, while the rollout's status can't be read"
ASK_SECONDS = 0.3
"""How long an engine may take to say that it reuses nothing."""
STOPPABLE = ENGAGED | {Phase.FALLING_BACK}
"""Phases in which an engine may reuse."""


def wanted(raw: Object) -> bool:
    """Return whether somebody asks for a kill, whatever revision the value names: there is no status that
    would tell the present one.
    """
    return bool(((raw.get("metadata") or {}).get("annotations") or {}).get(KILL))


def cause(raw: Object) -> str | None:
    """Return why every engine of a rollout is to be stopped, by its annotation or by an intent that an alert
    left; None if nobody asks for it.
    """
    if not wanted(raw) and not (raw.get("status") or {}).get("fallback"):
        return None
    try:
        rollout = read(raw)
    except UnreadableStatus:
        return UNREADABLE if wanted(raw) else None
    status, intent = rollout.status, rollout.status.fallback
    if status.phase not in STOPPABLE:
        return None
    if intent is not None and intent.revision == status.revision:
        return f"{intent.cause}: revision {intent.revision}: {intent.message}"
    if killed(rollout.annotations, status.revision):
        name = status.revision
        return f"Killed: revision {name}: annotation {KILL} stops revision {name}"
    return None


async def stop(
    kube: Kube,
    session: aiohttp.ClientSession,
    credentials: Credentials,
    namespace: str,
    name: str,
    known: Control | None,
    *,
    reason: str = UNREADABLE,
    asking: bool = False,
) -> None:
    """Take every engine of the rollout to the baseline. `known`: what last guarded those whose pods don't say
    it, if anything did. `asking`: but those that say that they reuse nothing, as somebody else may have
    brought them back by now.

    Raises KubeError if its pods can't be read, and an ExceptionGroup of EngineErrors for those that couldn't
    be told.
    """
    found = await kube.select(names.object_path("api/v1", "pods", namespace), selector(name))
    controls = bindings.by_address(credentials, namespace=namespace, name=name, pods=found, otherwise=known)
    engines = Engines(session=session, tokens=bindings.tokens(controls))
    addresses = [ip for pod in found if (ip := pods.askable(pod))]
    results = await asyncio.gather(
        *(_stop(engines, ip, reason, asking=asking) for ip in addresses), return_exceptions=True
    )
    failures = [result for result in results if isinstance(result, EngineError)]
    if failures:
        raise ExceptionGroup("engines that couldn't be told", failures)


async def _stop(engines: Engines, ip: str, reason: str, *, asking: bool) -> None:
    if not asking or await _may_reuse(engines, ip):
        await engines.kill(ip, reason)


async def _may_reuse(engines: Engines, ip: str) -> bool:
    try:
        async with asyncio.timeout(ASK_SECONDS):
            return (await engines.state(ip)).mode is Mode.ON
    except (EngineError, TimeoutError):
        return True

"""Kills by whoever sees that they are wanted, before any plan: as soon as a watch tells the leader, where a
rollout's status can't be read, so that no plan can be made, and by operators that don't lead. They need its
pods, and nothing else.

The leader does the same by its plan, and the rest of the way back besides. Its kill and this one are the same
to an engine: it is told the cause in the same words, so that whoever plans next finds it there.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from datetime import timedelta

import aiohttp
from indexcache_core.contract import Mode

from indexcache_operator import names
from indexcache_operator.api.status import Phase
from indexcache_operator.credentials import Control, Credentials
from indexcache_operator.engines import EngineError, Engines
from indexcache_operator.informers.reads import Reads
from indexcache_operator.objects import Object
from indexcache_operator.observe import bindings, pods
from indexcache_operator.observe.rollout import UnreadableStatus, read
from indexcache_operator.plan.facts.revision import KILL, killed
from indexcache_operator.plan.phases.triggers import ENGAGED
from indexcache_operator.workload.pod import selector

logger = logging.getLogger(__name__)

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


def reusing(raw: Object) -> frozenset[str] | None:
    """Return the pods that may reuse, by the status: each is there, with its permit, before it is told to.
    None where that can't be read: any may.
    """
    try:
        return frozenset(pod.name for pod in read(raw).status.pods if pod.permit > timedelta())
    except UnreadableStatus:
        return None


async def stop(
    reads: Reads,
    session: aiohttp.ClientSession,
    credentials: Credentials,
    namespace: str,
    name: str,
    known: Control | None,
    *,
    reason: str = UNREADABLE,
    asking: bool = False,
    only: frozenset[str] | None = None,
) -> None:
    """Take every engine of the rollout to the baseline. `known`: what last guarded those whose pods don't say
    it, if anything did. `asking`: but those that say that they reuse nothing, as somebody else may have
    brought them back by now. `only`: those of these pods.

    Raises KubeError if its pods can't be read, and an ExceptionGroup of EngineErrors for those that couldn't
    be told.
    """
    found = await reads.select(names.object_path("api/v1", "pods", namespace), selector(name))
    controls = bindings.by_address(credentials, namespace=namespace, name=name, pods=found, otherwise=known)
    engines = Engines(session=session, tokens=bindings.tokens(controls))
    meant = [pod for pod in found if only is None or pod["metadata"]["name"] in only]
    addresses = [ip for pod in meant if (ip := pods.askable(pod))]
    results = await asyncio.gather(
        *(_stop(engines, ip, reason, asking=asking) for ip in addresses), return_exceptions=True
    )
    failures = [result for result in results if isinstance(result, EngineError)]
    if failures:
        raise ExceptionGroup("engines that couldn't be told", failures)


class AtOnce:
    """Stops a rollout's engines as soon as a watch tells that somebody asks for it. The turn that plans the
    way back asks all of them first how they are, and waits a second for one that hangs.
    """

    def __init__(self, who: str, stop: Callable[[str, frozenset[str] | None], Awaitable[None]]) -> None:
        """Do nothing yet. `stop`: tells the engines of these pods to stop, or all, and why."""
        self._who, self._stop = who, stop
        self._task: asyncio.Task[None] | None = None

    def heard(self, raw: Object) -> None:
        """Take up a rollout as a watch tells it. Once the way back has begun, by its status, the rest is for
        the plan.
        """
        reason = cause(raw)
        begun = (raw.get("status") or {}).get("phase") == Phase.FALLING_BACK
        if reason is not None and not begun and (self._task is None or self._task.done()):
            # In a context of its own: the watch's may hold the whole event.
            self._task = asyncio.create_task(self._tell(reason, reusing(raw)), context=Context())

    async def end(self) -> None:
        """Wait until all were told."""
        if self._task is not None:
            await self._task

    async def _tell(self, reason: str, only: frozenset[str] | None) -> None:
        try:
            await self._stop(reason, only)
        except Exception as error:  # noqa: BLE001 (whatever it is, the turn that follows does the same)
            logger.warning("%s: not stopped at once, its turn tries again: %s", self._who, error)


async def _stop(engines: Engines, ip: str, reason: str, *, asking: bool) -> None:
    if not asking or await _may_reuse(engines, ip):
        await engines.kill(ip, reason)


async def _may_reuse(engines: Engines, ip: str) -> bool:
    try:
        async with asyncio.timeout(ASK_SECONDS):
            return (await engines.state(ip)).mode is Mode.ON
    except (EngineError, TimeoutError):
        return True

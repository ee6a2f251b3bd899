"""Does what a plan says, in its order.

Kills wait for nothing: they go out first, all at once, beside everything else, and are tried again should one
fail. The rest is done one after another, runs of flags for several engines together. One failure stops one
thing: what comes after it is done all the same, unless it relies on what failed (RELIED_ON). The next look
sees how far it came, and every action is safe to do again.

Each write asks the mandate that the plan was made under. Once that is over nothing more of the plan is done,
its kills neither: what they were decided on may have been another's to change since.
"""

import asyncio
import logging
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import aiohttp

from indexcache_operator import metrics, model
from indexcache_operator.act import events, finalizer, labels, route, workload
from indexcache_operator.act.control_secret import ControlSecret, may_wait
from indexcache_operator.act.status import StatusWriter
from indexcache_operator.engines import EngineError, Engines
from indexcache_operator.kube import Kube, KubeError
from indexcache_operator.mandate import UNBOUND, Mandate
from indexcache_operator.model import Action, Kill, Plan, PutFlags, RunProbes, Sighting
from indexcache_operator.probing.completions import Completions
from indexcache_operator.probing.prober import Prober
from indexcache_operator.workload.render import Owner

logger = logging.getLogger(__name__)

KILL_TRIES = 3
RELIED_ON = (model.PersistStatus, model.DeleteWorkload, model.ReleaseWorkload)
"""Actions without which nothing that follows may be done: an epoch is used, a finalizer goes, only when these
were.
"""


class ActionError(Exception):
    """An action that cannot be done as things stand."""


@dataclass(frozen=True, kw_only=True)
class Performer:
    """Does the plans of one rollout."""

    kube: Kube
    session: aiohttp.ClientSession
    writer: StatusWriter
    prober: Prober
    secret: ControlSecret = field(default_factory=ControlSecret)
    seconds: events.Seconds = field(default_factory=events.Seconds)

    async def perform(self, sighting: Sighting, plan: Plan[object], mandate: Mandate = UNBOUND) -> None:
        """Do all of a plan, under the mandate that it was made under. Raises what failed: EngineError,
        KubeError, ActionError, ForeignObject, NotLeading; a group of them if several did.
        """
        kills = [action for action in plan.actions if isinstance(action, Kill)]
        rest = [action for action in plan.actions if not isinstance(action, Kill)]
        turn = _Turn(self, sighting, plan, mandate)
        strands = [*(turn.counted(kill) for kill in kills), turn.rest(rest)]
        _raise_all(
            [
                result
                for result in await asyncio.gather(*strands, return_exceptions=True)
                if isinstance(result, BaseException)
            ]
        )


class _Turn:
    """Does one plan."""

    def __init__(
        self, performer: Performer, sighting: Sighting, plan: Plan[object], mandate: Mandate
    ) -> None:
        self._p = performer
        self._mandate = mandate
        self._kube = performer.kube.under(mandate)
        self._sighting = sighting
        self._plan = plan
        self._raw = sighting.rollout.raw
        self._status = sighting.rollout.status
        self._owner = Owner(
            name=sighting.rollout.name, namespace=sighting.rollout.namespace, uid=sighting.rollout.uid
        )

    async def rest(self, actions: Sequence[Action]) -> None:
        """Do all but the kills, in order, and write the status if it is due."""
        failures: list[BaseException] = []
        unlabelled = False
        for together in runs(actions):
            if unlabelled and isinstance(together[0], model.PatchRoute):
                continue  # the route never names a Service whose pods weren't moved as planned
            results = await asyncio.gather(
                *(self.counted(action) for action in together), return_exceptions=True
            )
            failed = [result for result in results if isinstance(result, BaseException)]
            failures += failed
            unlabelled |= bool(failed) and isinstance(together[0], model.SetLabels)
            if failed and isinstance(together[0], RELIED_ON):
                _raise_all(failures)
        failures += await self._failed(self._keep_secret())
        released = any(isinstance(action, model.RemoveFinalizer) for action in actions)
        if not released and self._p.writer.due(self._status, self._plan.status):
            failures += await self._failed(self._persist())
        _raise_all(failures)

    @staticmethod
    async def _failed(doing: Awaitable[None]) -> list[BaseException]:
        results = await asyncio.gather(doing, return_exceptions=True)
        return [result for result in results if isinstance(result, BaseException)]

    async def counted(self, action: Action) -> None:
        name = type(action).__name__
        try:
            await self._do(action)
        except BaseException:
            metrics.ACTIONS.labels(name, "failed").inc()
            raise
        metrics.ACTIONS.labels(name, "done").inc()

    async def _do(self, action: Action) -> None:
        kube, namespace = self._kube, self._owner.namespace
        match action:
            case Kill():
                await self._kill(action)
            case model.PersistStatus():
                await self._persist()
            case model.EnsureWorkload():
                await self._ensure()
            case model.SetLabels():
                await labels.put(kube, namespace, action, self._sighting.pods[action.pod])
            case PutFlags():
                await self._engines().put(self._address(action.pod), action.desired, action.contract)
            case model.PatchRoute():
                await route.patch(kube, namespace, self._route_name(), action)
            case RunProbes():
                self._probe(action)
            case model.Event():
                await self._emit(action)
            case model.DeleteWorkload():
                await workload.delete(kube, self._owner)
            case model.ReleaseWorkload():
                await self._release()
            case model.RemoveFinalizer():
                await finalizer.let_go(kube, self._raw)

    async def _persist(self) -> None:
        if not self._p.writer.kept(self._status, self._plan.status):
            self._raw = await self._p.writer.write(self._kube, self._raw, self._plan.status)
            self._status = self._plan.status

    async def _emit(self, action: model.Event) -> None:
        """Write an Event; one that can't be written is a loss to readers and stops nothing: what follows may
        be a fallback.
        """
        owner = self._owner
        try:
            await events.emit(
                self._kube,
                namespace=owner.namespace,
                name=owner.name,
                uid=self._sighting.rollout.uid,
                event=action,
                seconds=self._p.seconds,
            )
        except KubeError as error:
            logger.warning(
                "%s/%s: event %s (%s) not written: %s",
                owner.namespace,
                owner.name,
                action.reason,
                action.message,
                error,
            )

    async def _kill(self, action: Kill) -> None:
        for attempt in range(1, KILL_TRIES + 1):
            self._mandate.left()
            try:
                await self._engines().kill(self._address(action.pod), action.reason)
            except EngineError as error:
                if attempt == KILL_TRIES:
                    raise
                logger.debug(
                    "%s/%s: kill of %s, try %d: %s",
                    self._owner.namespace,
                    self._owner.name,
                    action.pod,
                    attempt,
                    error,
                )
            else:
                return

    async def _ensure(self) -> None:
        seen = self._sighting
        if seen.workload is None or seen.control is None:
            raise ActionError("nothing to apply: the spec can't be read, or the control key isn't known")
        uid = await workload.ensure(self._kube, seen.workload, self._owner)
        await self._p.secret.make(self._kube, self._owner.namespace, self._owner.name, seen.control, uid)

    async def _keep_secret(self) -> None:
        """Make the token's Secret where it may be missing, so that pods that wait for it can start."""
        seen, secret = self._sighting, self._p.secret
        if seen.control is None or seen.deployment_uid is None or seen.observation.deleting:
            return
        well = not any(map(may_wait, seen.observation.pods))
        if secret.due(seen.control, seen.deployment_uid, well=well):
            await secret.make(
                self._kube, self._owner.namespace, self._owner.name, seen.control, seen.deployment_uid
            )

    async def _release(self) -> None:
        await workload.release(self._kube, self._owner)

    def _probe(self, action: RunProbes) -> None:
        spec, tokens = self._sighting.rollout.spec, self._sighting.tokens
        ip = self._address(action.pod)
        if spec is None or ip not in tokens:
            raise ActionError("probes can't be asked: no spec, or no token of this pod")
        completions = Completions(
            session=self._p.session,
            port=spec.engine.port,
            control_tokens=tokens,
            api_key=self._sighting.api_key,
        )
        self._p.prober.start(action, engines=self._engines(), completions=completions, ip=ip)

    def _engines(self) -> Engines:
        return Engines(session=self._p.session, tokens=self._sighting.tokens, mandate=self._mandate)

    def _address(self, pod: str) -> str:
        if pod not in self._sighting.addresses:
            raise ActionError(f"pod {pod} has no address at which its engine could be told anything")
        return self._sighting.addresses[pod]

    def _route_name(self) -> str:
        if self._sighting.route is None:
            raise ActionError("neither spec nor status names an HTTPRoute that could be changed")
        return self._sighting.route.name


def _raise_all(failures: Sequence[BaseException]) -> None:
    """Raise what failed: by itself, or several as one flat group."""
    flat = [
        error
        for failure in failures
        for error in (failure.exceptions if isinstance(failure, BaseExceptionGroup) else (failure,))
    ]
    if len(flat) == 1:
        raise flat[0]
    if flat:
        raise BaseExceptionGroup("several actions failed", flat)


def runs(actions: Sequence[Action]) -> Iterator[list[Action]]:
    """Yield actions as they may be done: neighbouring PutFlags together, the others alone."""
    for together, group in groupby(actions, key=lambda action: isinstance(action, PutFlags)):
        if together:
            yield list(group)
        else:
            yield from ([action] for action in group)

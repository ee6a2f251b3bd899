"""The loop of one rollout: look, plan, act, and again when time or an event says so.

Level-triggered: what woke it is forgotten, what it sees decides. An error costs one turn: it is logged with
the rollout's name, shown as an Event once and, if turns go on failing, as the condition OperatorHealthy, and
tried again within RETRY_SECONDS. It ends when the rollout is gone.

Turns are the leader's, each under a mandate that ends with its term. An operator that doesn't lead stands by:
it asks no engine and writes nothing, but obeys a kill when it sees one.
"""

import asyncio
import contextlib
import logging
import random
import time
from dataclasses import dataclass, field
from datetime import timedelta

import aiohttp

from indexcache_operator import emergency, metrics, spreading
from indexcache_operator.accounts import Account
from indexcache_operator.act import events, finalizer, health
from indexcache_operator.act.perform import ActionError, Performer
from indexcache_operator.act.status import StatusWriter
from indexcache_operator.act.workload import ForeignObject
from indexcache_operator.believing import Planner, plan_believing
from indexcache_operator.engines import EngineError
from indexcache_operator.informers.reads import Reads
from indexcache_operator.kube import Conflict, Kube, KubeError
from indexcache_operator.mandate import UNBOUND, Lead, Mandate, NotLeading, alone
from indexcache_operator.model import Event, Sighting
from indexcache_operator.objects import Object
from indexcache_operator.observe.look import Observer, Sight
from indexcache_operator.observe.rollout import UnreadableStatus
from indexcache_operator.observe.unchanged import Unchanged
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.probing.prober import Prober

logger = logging.getLogger(__name__)

RETRY_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0)
"""Waits after the first, the second, ... failure in a row. The way back must not wait long for an API that
hiccups.
"""
TURN_SECONDS = 60.0
"""A turn takes no longer: each of its calls has a bound of its own, all of them together this one."""
STAND_BY_SECONDS = 60.0
"""Between two glances of an operator that doesn't lead: it is woken by whatever happens."""
JITTER = 0.8
"""Least part of a wait that was made longer for the number of rollouts: so that looks don't come together."""
SHOWN_AFTER = 3
"""Failures in a row, conflicts aside, after which the rollout's condition says so."""
EXPECTED = (
    KubeError,
    EngineError,
    ActionError,
    ForeignObject,
    UnreadableStatus,
    aiohttp.ClientError,
    TimeoutError,
    OSError,
)
"""What the world does to a turn. Anything else is a fault of the operator's own: as survivable, and logged
with its traceback.
"""


@dataclass(kw_only=True)
class RolloutLoop:
    """Runs one rollout's loop. `run` it once; `wake` it as often as you like."""

    kube: Kube
    session: aiohttp.ClientSession
    observer: Observer
    planner: Planner
    namespace: str
    name: str
    uid: str
    memory: Memory | None = None
    lead: Lead = field(default_factory=alone)
    crowd: spreading.Crowd = field(default_factory=spreading.Crowd)

    def __post_init__(self) -> None:
        self._wake = asyncio.Event()
        self._who = f"{self.namespace}/{self.name}"
        self._prober = Prober(self._who, self.wake)
        self._sight = Sight()
        self._at_once = emergency.AtOnce(self._who, self._stop)
        self._writer = StatusWriter()
        self._performer = Performer(
            kube=self.kube, session=self.session, writer=self._writer, prober=self._prober
        )
        self._accounted = Account(self.namespace, self.name)
        self._reported: str | None = None
        self._failures = 0
        """Turns that failed since the last that succeeded; that somebody else wrote first is no failure."""
        self._is_shown = False
        """Whether the rollout's condition says so."""
        self._led: Mandate | None = None
        """Under which the last turn was taken; None: it stood by."""
        self._ticket = spreading.Ticket()
        self._rests = False
        """Whether nothing is in motion: a turn that nobody asked for waits for those of others."""
        self._is_asked = False
        """Whether somebody asked for a look, and none has succeeded since."""
        self._waits = (timedelta(), timedelta())
        """Until the next look, as the last plan said: at least, and at most."""
        self._unchanged_until = 0.0
        """Until when nothing follows from a look that sees nothing new, by time.monotonic."""
        self._noted = ""
        """resourceVersion that the loop was last told of."""

    def wake(self) -> None:
        """Look again at once, whoever waits."""
        self._is_asked = True
        self._ticket.hurry()
        self._wake.set()

    def stir(self) -> None:
        """Look again as soon as it is this rollout's turn: at once, where something is in motion."""
        self._wake.set()

    def calm(self) -> None:
        """Let the first look wait for its turn: the rollout is at rest, and nobody asks for a kill."""
        self._rests = True
        self.crowd.rests(self.uid, rests=True)

    def changed(self, version: str, raw: Object | None = None) -> None:
        """Note that the rollout has this resourceVersion now: look at once, unless it is what this loop
        itself wrote last, or was told of before. Whoever leads stops its engines before that, if the rollout,
        as it stands in `raw`, asks for it.
        """
        if version not in (self._writer.version, self._noted):
            self._noted = version
            self.wake()
            if raw is not None and self.lead.mandate() is not None:
                self._at_once.heard(raw)

    async def run(self) -> None:
        """Run the loop until the rollout is gone."""
        again = 0
        try:
            while True:
                if not self._rests:
                    self._ticket.hurry()
                async with self.crowd.turn(self._ticket):
                    self._wake.clear()
                    mandate = await self._mandated()
                    try:
                        async with asyncio.timeout(TURN_SECONDS):
                            wait = await (self._stand_by() if mandate is None else self._turn(mandate))
                        again, self._failures, self._is_shown = 0, 0, False
                        self._is_asked = self._wake.is_set()
                    except Exception as error:  # noqa: BLE001 (one turn's failure, whatever it is, must not end the watch over live engines)
                        self._unchanged_until = 0.0
                        wait = self._until_retry(again)
                        again += 1
                        await self._failed(error, mandate)
                if wait is None:
                    return
                await self._sleep(wait)
        finally:
            await self._at_once.end()
            await self._prober.stop()
            self.crowd.rests(self.uid, rests=False)
            self._accounted.forget()

    def _until_retry(self, again: int) -> float:
        """Return how long to wait after so many failures in a row before this one. At rest many may fail at
        once, and for the same reason.
        """
        wait = RETRY_SECONDS[min(again, len(RETRY_SECONDS) - 1)]
        can_wait = self._rests and not self._is_asked and again >= len(RETRY_SECONDS)
        return max(wait, self._until_next()) if can_wait else wait

    def _until_next(self) -> float:
        """Return how long to wait for the next look, in seconds."""
        next_look, latest = self._waits
        wait = spreading.wait(next_look, latest, self.crowd.at_rest)
        return wait.total_seconds() * (random.uniform(JITTER, 1.0) if wait > next_look else 1.0)

    async def _mandated(self) -> Mandate | None:
        """Return what this turn is taken under; None: it stands by. With another term all begins anew, but
        for caches: what was remembered may be of long ago.
        """
        mandate = self.lead.mandate()
        before, self._led = self._led, mandate
        if (mandate and mandate.term) != (before and before.term):
            await self._prober.stop()
            self._prober.take()
            self.memory, self._reported, self._failures, self._is_shown = None, None, 0, False
            self._unchanged_until = 0.0
            self._accounted.forget()
            if mandate is not None:  # whoever leads owes a look from now on
                self._accounted.owes()
        return mandate

    async def _stand_by(self) -> float | None:
        """Obey a kill if somebody asks for one, and do nothing else."""
        raw = await self.observer.glance(self.namespace, self.name)
        if raw is None or raw["metadata"]["uid"] != self.uid:
            return None
        reason = emergency.cause(raw)
        if reason is None:
            return STAND_BY_SECONDS
        logger.warning("%s: stops its engines, without leading: %s", self._who, reason)
        await self._stop(reason, reads=self.kube, asking=True)
        return RETRY_SECONDS[-1]

    async def _stop(
        self,
        reason: str,
        only: frozenset[str] | None = None,
        *,
        reads: Reads | None = None,
        asking: bool = False,
    ) -> None:
        """Stop engines, as emergency.stop does. `reads`: who is asked for the pods, by default who tells them
        at once.
        """
        await emergency.stop(
            reads or self.observer.reads,
            self.session,
            self.observer.credentials,
            self.namespace,
            self.name,
            self._sight.control,
            reason=reason,
            asking=asking,
            only=only,
        )

    async def _turn(self, mandate: Mandate = UNBOUND) -> float | None:
        """Look once, plan and act; return the seconds until the next look, None if there is nothing left to
        look at."""
        began = time.monotonic()
        sighting = await self._look(mandate, may_be_as_before=began < self._unchanged_until)
        if isinstance(sighting, Unchanged):
            self._accounted.unchanged()
            return self._until_next()
        self._unchanged_until = 0.0
        if sighting is None or sighting.rollout.uid != self.uid:
            return None
        if not sighting.rollout.held and not sighting.rollout.deleting:
            await finalizer.hold(self.kube.under(mandate), sighting.rollout.raw)
            return 0.0
        made, doubted = plan_believing(self.planner, sighting.observation, self.memory)
        for pod, why in doubted.items():
            logger.error(
                "%s: pod %s counts as unreachable, as its state can't be judged: %r",
                self._who,
                pod,
                why,
                exc_info=why,
            )
        self.memory = made.memory
        self._waits, self._rests = (made.next_look, made.latest), made.latest > made.next_look
        self.crowd.rests(self.uid, rests=self._rests)
        await self._performer.perform(sighting, made, mandate)
        if not (made.actions or doubted) and self._writer.kept(sighting.rollout.status, made.status):
            self._unchanged_until = began + made.unchanged_for.total_seconds()
        self._reported = None
        self._accounted.looked(sighting, made, time.monotonic() - began)
        return self._until_next()

    async def _look(self, mandate: Mandate, *, may_be_as_before: bool) -> Sighting | Unchanged | None:
        """Look once; where the status can't be read, obey a kill and raise UnreadableStatus."""
        look = self.observer.look_again if may_be_as_before else self.observer.look
        try:
            return await look(self.namespace, self.name, self._sight, self._prober.take(), term=mandate.term)
        except UnreadableStatus as error:
            if emergency.wanted(error.raw):
                await self._stop(emergency.UNREADABLE, reads=self.kube)
            raise

    async def _sleep(self, seconds: float) -> None:
        # Not asyncio.wait_for: that of Python 3.11 loses a cancellation that comes together with a wake.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _failed(self, error: Exception, mandate: Mandate | None) -> None:
        if mandate is None:  # what the leader says of the rollout isn't for others to change
            logger.warning("%s: not stopped yet: %s", self._who, error)
            return
        if _over(mandate):
            logger.warning("%s: its turn is not ended, as another leads, or nobody: %s", self._who, error)
            return
        if _only(error, Conflict):
            metrics.LOOKS.labels("conflict").inc()
            logger.info("%s: somebody else wrote first, looking again: %s", self._who, error)
            return
        self._failures += 1
        message = health.told(error, EXPECTED)
        again, self._reported = message == self._reported, message
        if _only(error, EngineError):
            # An engine that is silent is a fact about the engine: the operator is well, and the next plan
            # tells it again.
            metrics.LOOKS.labels("engine_failed").inc()
            logger.log(logging.DEBUG if again else logging.WARNING, "%s: %s", self._who, message)
        else:
            metrics.LOOKS.labels("failed").inc()
            logger.error("%s: %s", self._who, message, exc_info=None if _only(error, EXPECTED) else error)
        if not again:
            await self._report(message, mandate)
        if self._failures >= SHOWN_AFTER and not self._is_shown:
            await self._show(message, mandate)

    async def _report(self, message: str, mandate: Mandate) -> None:
        event = Event(type="Warning", reason="TurnFailed", message=f"{message}. It is tried again by itself")
        try:
            await events.emit(
                self.kube.under(mandate),
                namespace=self.namespace,
                name=self.name,
                uid=self.uid,
                event=event,
                seconds=self._performer.seconds,
            )
        except (KubeError, NotLeading, aiohttp.ClientError, TimeoutError, OSError) as error:
            logger.warning("%s: event not written: %s", self._who, error)

    async def _show(self, message: str, mandate: Mandate) -> None:
        """Say in the rollout's conditions that nothing is done about it, or try again at the next failure.
        The next turn that succeeds takes it back.
        """
        try:
            kube = self.kube.under(mandate)
            self._is_shown = await health.show(kube, self.namespace, self.name, message)
        except (KubeError, NotLeading, aiohttp.ClientError, TimeoutError, OSError) as error:
            logger.warning("%s: condition not written: %s", self._who, error)


def _only(error: Exception, kinds: type[Exception] | tuple[type[Exception], ...]) -> bool:
    """Return whether an error is of these kinds, or a group of nothing else."""
    return isinstance(error, kinds) or (isinstance(error, ExceptionGroup) and error.split(kinds)[1] is None)


def _over(mandate: Mandate) -> bool:
    try:
        mandate.left()
    except NotLeading:
        return True
    return False

"""Takes and keeps the Lease, and tells this process whether it leads.

What goes wrong is logged and tried again: who can't renew in time doesn't lead any more, whether or not
anything here runs.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp

from indexcache_operator import metrics, names
from indexcache_operator.kube import Conflict, Kube, KubeError, NotFound
from indexcache_operator.leading import decide, record
from indexcache_operator.mandate import Lead, clock
from indexcache_operator.objects import Object

logger = logging.getLogger(__name__)

TRY_SECONDS = 2.0
"""Between two looks at the Lease, or two renewals."""
CALL_SECONDS = 3.0
"""A call takes no longer, so that several fit into decide.RENEW_SECONDS."""
EXPECTED = (KubeError, aiohttp.ClientError, TimeoutError, OSError)
"""What the world does to a call."""
LEASES = "apis/coordination.k8s.io/v1"


@dataclass(kw_only=True)
class Elector:
    """Elects by one Lease. `run` it once."""

    kube: Kube
    namespace: str
    name: str
    identity: str
    lead: Lead
    namespaces: tuple[str, ...] = ()
    """Of the rollouts; none: all."""
    changed: Callable[[], None] = lambda: None
    """Called when this process begins to lead, and when it has noticed that it no longer does."""

    def __post_init__(self) -> None:
        self._view = decide.View(identity=self.identity)
        self._path = names.object_path(LEASES, "leases", self.namespace, self.name)
        self._told = ""

    async def run(self) -> None:
        """Take part in the election until cancelled."""
        metrics.LEADER.set(0.0)
        while True:
            began = clock()
            self._take_up(decide.passed(self._view, began))
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    await self._step()
                self._told = ""
            except EXPECTED as error:
                self._tell(error)
            self._take_up(decide.passed(self._view, clock()))
            await asyncio.sleep(self._wait(began))

    async def give_up(self) -> None:
        """Stop leading, and leave the Lease to the next. Nothing of this process may act any more."""
        view, self._view = self._view, decide.gave_up(self._view)
        self._take_up(self._view)
        if view.held is None:
            return
        try:
            async with asyncio.timeout(CALL_SECONDS):
                found = record.read(await self.kube.get(self._path))
                if (found.holder, found.term) == (self.identity, view.held.term):
                    await self.kube.replace(self._path, record.given_up(found.raw, now=datetime.now(UTC)))
        except EXPECTED as error:
            logger.warning("%s: not given up, it will be taken once it has run out: %s", self._path, error)

    async def _step(self) -> None:
        """Renew the Lease, or else look whether it can be taken. Raises KubeError, and what a connection
        raises.
        """
        if self._view.held is not None and self._view.record is not None:
            try:
                await self._write(record.renewed(self._view.record.raw, now=datetime.now(UTC)))
                return
            except (Conflict, NotFound) as error:
                logger.info("%s: not as it was left: %s", self._path, error)
        await self._read()
        if self._view.held is not None or not decide.may_take(self._view, clock()):
            return
        try:
            await self._take()
        except Conflict as error:
            logger.info("%s: somebody else was faster: %s", self._path, error)

    async def _read(self) -> None:
        try:
            found = record.read(await self.kube.get(self._path))
        except NotFound:
            found = None
        self._take_up(decide.read(self._view, found, clock()))

    async def _take(self) -> None:
        known = 0 if self._view.record else await self._known()
        term = decide.next_term(self._view, known)
        raw: Object = self._view.record.raw if self._view.record else {"metadata": {"name": self.name}}
        body = record.taken(
            raw, holder=self.identity, term=term, seconds=decide.LEASE_SECONDS, now=datetime.now(UTC)
        )
        await self._write(body)

    async def _known(self) -> int:
        """Return the latest term that any rollout knows: a Lease that was deleted begins after it."""
        found = [await self.kube.select(names.rollouts_path(n)) for n in self.namespaces or (None,)]
        return record.terms([raw for part in found for raw in part])

    async def _write(self, body: Object) -> None:
        """Store the Lease, and lead from when it was sent."""
        sent = clock()
        if "resourceVersion" in body["metadata"]:
            answer = await self.kube.replace(self._path, body)
        else:
            answer = await self.kube.create(names.object_path(LEASES, "leases", self.namespace), body)
        self._take_up(decide.stored(self._view, record.read(answer), sent, clock()))

    def _take_up(self, view: decide.View) -> None:
        """Tell the process what it may do."""
        self._view = view
        before, held = self.lead.term, view.held
        if held is not None:
            self.lead.hold(held.term, held.until)
        else:
            self.lead.lose()
        metrics.LEADER.set(float(held is not None))
        if before == self.lead.term:
            return
        if held is not None:
            logger.warning("%s: leads, in term %d", self.identity, held.term)
        else:
            logger.warning("%s: leads no longer, its term %s is over", self.identity, before)
        self.changed()

    def _wait(self, began: float) -> float:
        """Return the seconds until the next step; none is left where the lead would end before."""
        held = self._view.held
        due = began + TRY_SECONDS - clock()
        return max(min(due, held.until - clock()) if held is not None else due, 0.05)

    def _tell(self, error: Exception) -> None:
        said = f"{type(error).__name__}: {error}"
        level = logging.DEBUG if said == self._told else logging.WARNING
        self._told = said
        logger.log(level, "%s: %s", self._path, said)

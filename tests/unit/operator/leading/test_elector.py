"""An elector against an API server in memory that refuses, hangs, loses answers and lets others write."""

import asyncio
import copy
import logging
from collections.abc import Callable
from typing import Any, cast

import aiohttp
import pytest
from indexcache_operator import metrics
from indexcache_operator.api import epochs
from indexcache_operator.kube import Conflict, Kube, KubeError, NotFound
from indexcache_operator.leading import decide, elector
from indexcache_operator.leading.elector import LEASES, Elector
from indexcache_operator.mandate import Lead
from indexcache_operator.names import object_path
from indexcache_operator.objects import Object
from prometheus_client import REGISTRY

PATH = object_path(LEASES, "leases", "ns", "l")


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Server:
    """Holds one Lease and the rollouts. The next calls go wrong as `faults` says, None: not."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self.version = 0
        self.rollouts: list[Object] = []
        self.faults: list[Exception | str | None] = []
        self.calls: list[str] = []

    async def get(self, path: str) -> Object:
        assert path == PATH
        await self._begin("get")
        if self.lease is None:
            raise NotFound(404, "NotFound", path)
        return copy.deepcopy(self.lease)

    async def select(self, path: str) -> list[Object]:
        await self._begin("select")
        return self.rollouts

    async def create(self, path: str, body: Object) -> Object:
        assert path == PATH.removesuffix("/l")
        fault = await self._begin("create")
        if self.lease is not None:
            raise Conflict(409, "AlreadyExists", path)
        return self._store({**body, "metadata": {**body["metadata"], "uid": f"u{self.version}"}}, fault)

    async def replace(self, path: str, body: Object) -> Object:
        assert path == PATH
        fault = await self._begin("replace")
        if self.lease is None:
            raise NotFound(404, "NotFound", path)
        if body["metadata"] != self.lease["metadata"]:
            raise Conflict(409, "Conflict", path)
        return self._store(body, fault)

    async def _begin(self, call: str) -> str | None:
        self.calls.append(call)
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, Exception):
            raise fault
        if fault == "hangs":
            await asyncio.Event().wait()
        return fault

    def _store(self, body: Object, fault: str | None) -> Object:
        self.version += 1
        version = {"resourceVersion": str(self.version)}
        self.lease = copy.deepcopy({**body, "metadata": {**body["metadata"], **version}})
        if fault == "answer lost":
            raise TimeoutError
        return copy.deepcopy(self.lease)

    @property
    def holder(self) -> str | None:
        return self.lease["spec"].get("holderIdentity") if self.lease else None


class Scene:
    """Holds electors of one Lease, on one clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.server = clock, Server()

    def elector(self, identity: str, changed: Callable[[], None] = lambda: None) -> Elector:
        kube = cast(Kube, self.server)
        lead = Lead(self.clock)
        return Elector(kube=kube, namespace="ns", name="l", identity=identity, lead=lead, changed=changed)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    clock = Clock()
    monkeypatch.setattr(elector, "clock", clock)
    return Scene(clock)


def leads(found: Elector) -> bool:
    return found.lead.mandate() is not None


async def test_the_first_takes_it_and_the_second_waits_until_it_has_run_out(scene: Scene) -> None:
    told: list[str] = []
    a, b = scene.elector("a", lambda: told.append("a")), scene.elector("b", lambda: told.append("b"))
    await a._step()
    await b._step()
    assert (leads(a), leads(b), a.lead.term, told) == (True, False, 1, ["a"])
    for _ in range(20):
        scene.clock.now += elector.TRY_SECONDS
        await a._step()
        await b._step()
    assert (leads(a), leads(b), scene.server.holder) == (True, False, "a")
    scene.clock.now += decide.LEASE_SECONDS - 0.1
    await b._step()
    assert (leads(a), leads(b)) == (False, False)  # there is an instant at which nobody leads
    scene.clock.now += 0.1
    await b._step()
    assert (leads(b), b.lead.term, told) == (True, 2, ["a", "b"])
    await a._step()
    assert (leads(a), scene.server.holder, told) == (False, "b", ["a", "b", "a"])


async def test_what_is_given_up_is_taken_at_once_in_a_later_term(scene: Scene) -> None:
    a, b = scene.elector("a"), scene.elector("b")
    await a._step()
    await b._step()
    await a.give_up()
    assert (leads(a), scene.server.holder) == (False, None)
    await b._step()
    assert (leads(b), b.lead.term) == (True, 2)
    await a.give_up()  # not its own any more
    assert scene.server.holder == "b"


@pytest.mark.parametrize("fault", [KubeError(403, "Forbidden", "no"), aiohttp.ClientError("cut"), "hangs"])
async def test_what_is_not_given_up_runs_out(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, fault: Exception | str
) -> None:
    monkeypatch.setattr(elector, "CALL_SECONDS", 0.05)
    a = scene.elector("a")
    await a._step()
    scene.server.faults = [fault]
    await a.give_up()
    assert (leads(a), scene.server.holder) == (False, "a")


async def test_a_renewal_whose_answer_was_lost_is_made_good_at_once(scene: Scene) -> None:
    a = scene.elector("a")
    await a._step()
    scene.server.faults = ["answer lost"]
    with pytest.raises(TimeoutError):
        await a._step()
    scene.clock.now += elector.TRY_SECONDS
    await a._step()  # finds another version, and that it is its own
    scene.clock.now += elector.TRY_SECONDS
    await a._step()
    assert (leads(a), a.lead.term) == (True, 1)
    assert scene.server.calls[-4:] == ["replace", "replace", "get", "replace"]


async def test_an_earlier_life_of_the_same_name_is_followed_at_once(scene: Scene) -> None:
    await scene.elector("a")._step()
    again = scene.elector("a")
    await again._step()
    assert (leads(again), again.lead.term) == (True, 2)


async def test_two_of_one_name_never_both_lead_for_long(scene: Scene) -> None:
    one, other = scene.elector("a"), scene.elector("a")
    await one._step()
    await other._step()
    assert other.lead.term == 2
    await one._step()
    assert not (leads(one) and leads(other) and one.lead.term == other.lead.term)


async def test_a_lease_that_was_deleted_begins_after_all_terms_that_are_known(scene: Scene) -> None:
    a, b = scene.elector("a"), scene.elector("b")
    scene.server.rollouts = [{"status": {"epoch": epochs.first(6) + 17}}, {}]
    await a._step()
    assert a.lead.term == 7
    await b._step()
    scene.server.lease, scene.server.rollouts = None, []
    await b._step()  # by what it saw of the Lease itself
    assert b.lead.term == 8
    await a._step()
    assert not leads(a)


async def test_without_the_rollouts_no_lease_is_made(scene: Scene) -> None:
    a = scene.elector("a")
    scene.server.faults = [None, KubeError(500, "InternalError", "no")]
    with pytest.raises(KubeError):
        await a._step()
    assert (scene.server.lease, leads(a)) == (None, False)


FAULTS: list[Exception | str] = [
    *(KubeError(status, "no", "no") for status in (400, 403, 410, 422, 429, 500, 503)),
    Conflict(409, "Conflict", "no"),
    NotFound(404, "NotFound", "no"),
    aiohttp.ClientPayloadError("cut"),
    ConnectionResetError(),
    "hangs",
    "answer lost",
]


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
@pytest.mark.parametrize("call", range(3))
async def test_a_fault_at_any_call_ends_nothing_and_is_tried_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, fault: Exception | str, call: int
) -> None:
    """As it runs, on its real clock. A call that takes the Lease fails, then one that renews it."""
    monkeypatch.undo()
    monkeypatch.setattr(elector, "CALL_SECONDS", 0.1)
    monkeypatch.setattr(elector, "TRY_SECONDS", 0.02)
    changed = asyncio.Event()
    found = scene.elector("a", changed.set)
    found.lead = Lead()
    scene.server.faults = [*([None] * call), fault]
    running = asyncio.create_task(found.run())
    try:
        await until(lambda: leads(found))
        scene.server.faults = [fault]
        await until(lambda: not scene.server.faults)
        before = scene.server.version
        await until(lambda: leads(found) and scene.server.version > before + 1)
        assert changed.is_set()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_while_every_call_fails_nobody_leads_any_longer_than_what_was_renewed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(elector, "CALL_SECONDS", 0.1)
    monkeypatch.setattr(elector, "TRY_SECONDS", 0.02)
    monkeypatch.setattr(decide, "RENEW_SECONDS", 0.3)
    found = scene.elector("a")
    found.lead = Lead()
    running = asyncio.create_task(found.run())
    try:
        await until(lambda: leads(found))
        scene.server.faults = [KubeError(500, "InternalError", "no")] * 1000
        await until(lambda: not leads(found) and found.lead.term is None)
        scene.server.faults = []
        await until(lambda: leads(found))
        assert found.lead.term == 2
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_what_goes_wrong_again_and_again_is_told_aloud_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    found, refused = scene.elector("a"), KubeError(403, "Forbidden", "no")
    with caplog.at_level(logging.DEBUG, logger=elector.__name__):
        for error in (refused, refused, ConnectionResetError("cut"), refused):
            found._tell(error)
    assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG", "WARNING", "WARNING"]
    assert caplog.records[0].getMessage() == f"{PATH}: KubeError: 403 Forbidden: no"


async def test_a_metric_says_who_leads(scene: Scene) -> None:
    metrics.LEADER.set(1.0)  # as an earlier test may have left it
    a, b = scene.elector("a"), scene.elector("b")
    scene.server.faults = ["hangs"]
    running = asyncio.create_task(a.run())
    try:
        await until(lambda: scene.server.calls)
        assert REGISTRY.get_sample_value("indexcache_operator_leader") == 0.0
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await a._step()
    assert REGISTRY.get_sample_value("indexcache_operator_leader") == 1.0
    await b._step()
    assert REGISTRY.get_sample_value("indexcache_operator_leader") == 0.0


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (there is nothing to be told by)
            await asyncio.sleep(0.005)

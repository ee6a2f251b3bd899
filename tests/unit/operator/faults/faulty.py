"""Lets calls to the simulated API server fail, and plays a real loop on it in the world's time."""

import asyncio
import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aiohttp
from indexcache_core.contract import Mode
from indexcache_operator.act.status import StatusWriter
from indexcache_operator.api.status import Phase
from indexcache_operator.loop import TURN_SECONDS, RolloutLoop
from indexcache_operator.mandate import Mandate, alone
from indexcache_operator.observe.hugging_face import HuggingFace
from indexcache_operator.observe.look import Observer
from indexcache_operator.plan import plan
from indexcache_operator.workload.render import Runtime

from tests.credentials import CREDENTIALS
from tests.unit.operator.faults.simulated import NAMESPACE, ROLLOUT, SimulatedApi, refused
from tests.unit.operator.plan.held import WrongEnd, reached, safe
from tests.unit.operator.plan.world import World
from tests.unit.operator.plan.world_parts import NAME, RUNTIME

LOOKS = 900
READS = ("get", "select", "listed")
CALLS = (*READS, "create", "replace", "apply", "patch", "delete")
FAULTS = (
    *("403", "409", "410", "422", "429", "500"),
    "cut off before",
    "cut off after",
    "hangs before",
    "hangs after",
    "stale",
)
"""By status, what the API server answers, having done nothing. `cut off`, `hangs`: the connection breaks, or
the call's time is over, before or after it is done. `stale`: a read is answered as the one before was, even
of what this process wrote; but for the rollout, which is never read from a watch while anybody is exposed.
"""

Due = Callable[[str, int], str | None]
"""Given a call's site, and how often there was one, says which fault it meets."""


def once(fault: str | None) -> Due:
    """Return what puts one fault at each site when that is first reached; a stale read is at every one."""
    return lambda site, times: fault if times == 1 or fault == "stale" else None


def never(site: str, times: int) -> None:
    """Let no call fail."""


class FaultyApi(SimulatedApi):
    """Lets calls fail. A *site* is a call of one kind in one phase: its verb, what it is about, and the phase
    that the rollout is in.
    """

    def __init__(self, world: World, due: Due = never, *, hanging_looks: int = 0) -> None:
        """Ask `due` at each call. `hanging_looks`: how long the world goes on while a call hangs."""
        super().__init__(world)
        self.due, self.hanging_looks = due, hanging_looks
        self.sites: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._old: dict[str, list[Any]] = {}

    @property
    def injected(self) -> int:
        return self.faults.total()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in CALLS:
            return found

        async def call(path: str, *args: Any, **kwargs: Any) -> Any:
            return await self._call(name, found, path, *args, **kwargs)

        return call

    async def _call(self, verb: str, real: Any, path: str, *args: Any, **kwargs: Any) -> Any:
        site = f"{self.world.status.phase} {verb} {path}{' dry' if kwargs.get('dry_run') else ''}"
        self.sites[site] += 1
        fault = self.due(site, self.sites[site])
        if fault is not None and fault != "stale":
            self.faults[fault] += 1
            self._before(fault)
        answer = await real(path, *args, **kwargs)
        if fault == "cut off after":
            raise aiohttp.ClientPayloadError("cut off by this test")
        if fault == "hangs after":
            self._hangs()
        return self._read(path, answer, stale=fault == "stale") if verb in ("get", "select") else answer

    def passes(self) -> None:
        """Note the phase, and let time pass."""
        world = self.world
        if not world.phases or world.phases[-1] is not world.status.phase:
            world.phases.append(world.status.phase)
        world.pass_time(safe)

    def _before(self, fault: str) -> None:
        if fault.isdecimal():
            raise refused(int(fault))
        if fault == "cut off before":
            raise aiohttp.ServerDisconnectedError
        if fault == "hangs before":
            self._hangs()

    def _hangs(self) -> None:
        for _ in range(self.hanging_looks):
            self.passes()
        raise TimeoutError

    def _read(self, path: str, answer: Any, *, stale: bool) -> Any:
        """Return an answer, or where it is stale what was there at the last read: a change is seen a read
        late.
        """
        before, self._old[path] = self._old.get(path, answer), copy.deepcopy(answer)
        if not stale or path == ROLLOUT or before == answer:
            return answer
        self.faults["stale"] += 1
        return copy.deepcopy(before)


class TimedObserver(Observer):
    """Looks in the world's time."""

    async def look(self, *args: Any, **kwargs: Any) -> Any:
        found = await super().look(*args, **kwargs)
        kube: Any = self.kube
        kube.looked()
        return found and replace(found, observation=replace(found.observation, now=kube.world.now))


def loop_over(api: FaultyApi, informed: Any = None) -> RolloutLoop:
    """Return a loop over the simulated API server, in the world's time."""
    kube: Any = api
    nothing: Any = None
    observer = TimedObserver(
        kube=kube,
        session=nothing,
        runtime=Runtime(image=RUNTIME),
        credentials=CREDENTIALS,
        hugging_face=HuggingFace(nothing, None),
        informed=informed,
    )
    loop = RolloutLoop(
        kube=kube, session=nothing, observer=observer, planner=plan, namespace=NAMESPACE, name=NAME, uid="uid"
    )
    writer = StatusWriter(lambda: api.world.now.timestamp())
    loop._writer = writer
    object.__setattr__(loop._performer, "writer", writer)
    return loop


async def turn(loop: RolloutLoop) -> None:
    """Take one turn as the loop does, but for its waits."""
    mandate: Mandate | None = alone().mandate()
    assert mandate is not None
    try:
        async with asyncio.timeout(TURN_SECONDS):
            await loop._turn(mandate)
        loop._failures, loop._is_shown = 0, False
    except Exception as error:  # noqa: BLE001 (as the loop has it)
        await loop._failed(error, mandate)


async def play(loop: RolloutLoop, api: FaultyApi, *ends: Phase) -> None:
    """Look and let time pass until one of these phases."""
    for _ in range(LOOKS):
        await turn(loop)
        api.passes()
        if api.world.status.phase in ends:
            return
    raise WrongEnd((api.world.status.phase, api.world.status.message, api.world.phases))


async def rests(loop: RolloutLoop, api: FaultyApi) -> None:
    """Check that an end lasts, and that nothing more is written (I8)."""
    api.due = never
    for _ in range(8):
        await turn(loop)
        api.passes()
    writes = api.writes
    for _ in range(10):
        await turn(loop)
        api.passes()
    assert api.writes == writes


async def ends_promoted(loop: RolloutLoop, api: FaultyApi) -> None:
    """Check that a good rollout, which has ended, is promoted and stays so."""
    world = api.world
    reached(world, Phase.PROMOTED)
    await rests(loop, api)
    assert world.modes() == {Mode.ON}
    assert world.backends == world.original  # I9
    assert (world.failed_requests, world.strays) == (0, 0)  # I2, I4
    assert world.status.rejected == ()
    assert [h.outcome for h in world.status.history] == ["Promoted"]


async def ends_at_the_baseline(loop: RolloutLoop, api: FaultyApi, *rejected: str) -> None:
    """Check that a rollout, which has fallen back, stays so; with these reasons of rejected revisions."""
    world = api.world
    reached(world, Phase.FELL_BACK)
    admitted = world.reuse_admitted
    await rests(loop, api)
    assert world.reuse_admitted == admitted  # I1
    assert world.modes() == {Mode.OFF}
    assert world.backends == world.original  # I9
    assert (world.failed_requests, world.strays) == (0, 0)  # I2, I4
    assert not any(p.canary for p in world.pods.values())  # I3
    assert tuple(r.reason for r in world.status.rejected) == rejected  # I13
    assert api.events.count("FellBack") <= 1  # I12

"""The API server fails at each call of each turn, in each way that it can, and what may never happen never
does.

The real loop looks, plans and acts on an API server in memory. A *site* is a call of one kind in one phase:
its verb, what it is about, and the phase that the rollout is in. Each fault is put at each site when that is
first reached, those of failed turns too (an Event, a condition), so one rollout meets it dozens of times.
"""

import asyncio
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from indexcache_core.contract import Mode
from indexcache_operator.act.status import StatusWriter
from indexcache_operator.api.status import Phase
from indexcache_operator.loop import TURN_SECONDS, RolloutLoop
from indexcache_operator.mandate import Mandate, alone
from indexcache_operator.observe.hugging_face import HuggingFace
from indexcache_operator.observe.look import Observer
from indexcache_operator.plan import plan
from indexcache_operator.plan.facts.revision import KILL
from indexcache_operator.workload.render import Runtime

from tests.credentials import CREDENTIALS
from tests.unit.operator.faults.simulated import NAMESPACE, ROLLOUT, SimulatedApi, SimulatedEngines, refused
from tests.unit.operator.plan.test_plan_crashes import safe, turned
from tests.unit.operator.plan.world import World, good
from tests.unit.operator.plan.world_parts import NAME, RUNTIME

LOOKS = 900
READS = ("get", "select")
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


class FaultyApi(SimulatedApi):
    """Puts one fault at each site."""

    def __init__(self, world: World, fault: str | None) -> None:
        super().__init__(world)
        self.fault = fault
        self.sites: Counter[str] = Counter()
        self.injected = 0
        self._old: dict[str, list[Any]] = {}

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in (*READS, "create", "replace", "apply", "patch", "delete"):
            return found

        async def call(path: str, *args: Any, **kwargs: Any) -> Any:
            return await self._call(name, found, path, *args, **kwargs)

        return call

    async def _call(self, verb: str, real: Any, path: str, *args: Any, **kwargs: Any) -> Any:
        site = f"{self.world.status.phase} {verb} {path}{' dry' if kwargs.get('dry_run') else ''}"
        self.sites[site] += 1
        first = self.sites[site] == 1 and self.fault not in (None, "stale")
        self.injected += first
        if first:
            assert self.fault is not None
            self._before(self.fault)
        answer = await real(path, *args, **kwargs)
        if first and self.fault == "cut off after":
            raise aiohttp.ClientPayloadError("cut off by this test")
        if first and self.fault == "hangs after":
            raise TimeoutError
        return self._stale(path, answer) if verb in READS and self.fault == "stale" else answer

    def _before(self, fault: str) -> None:
        if fault.isdecimal():
            raise refused(int(fault))
        if fault == "cut off before":
            raise aiohttp.ServerDisconnectedError
        if fault == "hangs before":
            raise TimeoutError

    def _stale(self, path: str, answer: Any) -> Any:
        """Return what was there at the last read: each change is seen a read late."""
        if path == ROLLOUT:
            return answer
        before = self._old.get(path, answer)
        self._old[path] = copy.deepcopy(answer)
        self.injected += before != answer
        return copy.deepcopy(before)


class TimedObserver(Observer):
    """Looks in the world's time."""

    async def look(self, *args: Any, **kwargs: Any) -> Any:
        found = await super().look(*args, **kwargs)
        kube: Any = self.kube
        return found and replace(found, observation=replace(found.observation, now=kube.world.now))


def loop_over(api: FaultyApi) -> RolloutLoop:
    """Return a loop over the simulated API server, in the world's time."""
    kube: Any = api
    nothing: Any = None
    observer = TimedObserver(
        kube=kube,
        session=nothing,
        runtime=Runtime(image=RUNTIME),
        credentials=CREDENTIALS,
        hugging_face=HuggingFace(nothing, None),
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
        note(api.world)
        api.world.pass_time(safe)
        if api.world.status.phase in ends:
            return
    raise AssertionError((api.world.status.phase, api.world.status.message, api.world.phases))


def note(world: World) -> None:
    if not world.phases or world.phases[-1] is not world.status.phase:
        world.phases.append(world.status.phase)


async def rests(loop: RolloutLoop, api: FaultyApi) -> None:
    """Check that an end lasts, and that nothing more is written (I8)."""
    api.fault = None
    for _ in range(8):
        await turn(loop)
        api.world.pass_time(safe)
    writes = api.writes
    for _ in range(10):
        await turn(loop)
        api.world.pass_time(safe)
    assert api.writes == writes


@pytest.fixture(autouse=True)
def engines(monkeypatch: pytest.MonkeyPatch) -> type[SimulatedEngines]:
    for place in ("observe.look", "act.perform"):
        monkeypatch.setattr(f"indexcache_operator.{place}.Engines", SimulatedEngines)
    return SimulatedEngines


COUNTS: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def counts() -> Iterator[None]:
    """Print how many faults were injected."""
    yield
    print(f"\nAPI faults injected: {COUNTS.total()} ({dict(COUNTS)})")


@pytest.mark.parametrize("fault", [None, *FAULTS])
async def test_a_good_rollout_is_promoted_whatever_the_api_server_does(fault: str | None) -> None:
    world = World(recall=good)
    SimulatedEngines.world = world
    api = FaultyApi(world, fault)
    loop = loop_over(api)
    await play(loop, api, Phase.PROMOTED, Phase.FELL_BACK)
    COUNTS[str(fault)] += api.injected
    assert world.status.phase is Phase.PROMOTED, world.status.message
    await rests(loop, api)
    assert world.modes() == {Mode.ON}
    assert world.backends == world.original  # I9
    assert (world.failed_requests, world.strays) == (0, 0)  # I2, I4
    assert world.status.rejected == ()
    assert [h.outcome for h in world.status.history] == ["Promoted"]
    assert fault is None or api.injected >= (10 if fault == "stale" else 25)


@pytest.mark.parametrize("fault", [None, *FAULTS])
async def test_a_harmful_pattern_is_taken_back_whatever_the_api_server_does(fault: str | None) -> None:
    world = turned(World())
    SimulatedEngines.world = world
    api = FaultyApi(world, fault)
    loop = loop_over(api)
    await play(loop, api, Phase.FELL_BACK)
    COUNTS[str(fault)] += api.injected
    admitted = world.reuse_admitted
    await rests(loop, api)
    assert world.reuse_admitted == admitted  # I1
    assert world.modes() == {Mode.OFF}
    assert world.backends == world.original  # I9
    assert (world.failed_requests, world.strays) == (0, 0)  # I2, I4
    assert not any(p.canary for p in world.pods.values())  # I3
    assert [r.reason for r in world.status.rejected] == ["RecallBelowThreshold"]  # I13
    assert Phase.PROMOTED not in world.phases  # I5, I10
    assert api.events.count("FellBack") <= 1  # I12


_promoted: list[FaultyApi] = []


async def promoted() -> FaultyApi:
    """Return an API server of a promoted rollout, brought there once."""
    if not _promoted:
        api = FaultyApi(World(recall=good), None)
        SimulatedEngines.world = api.world
        loop = loop_over(api)
        await play(loop, api, Phase.PROMOTED)
        await rests(loop, api)
        _promoted.append(api)
    found = copy.deepcopy(_promoted[0])
    SimulatedEngines.world = found.world
    return found


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_kill_is_obeyed_in_the_look_that_sees_it_whatever_the_api_server_does(fault: str) -> None:
    """But where it tells neither the rollout nor its pods, or only as they were: then in the next looks."""
    api = await promoted()
    world, loop = api.world, loop_over(api)
    await turn(loop)
    api.fault = fault
    api.sites.clear()
    world.annotations[KILL] = "true"
    looks = 0
    while Mode.ON in world.modes():
        await turn(loop)
        looks += 1
        assert looks <= 4
    await play(loop, api, Phase.FELL_BACK)
    COUNTS[fault] += api.injected
    assert world.status.fallback is not None
    assert (world.status.fallback.cause, world.status.rejected) == ("Killed", ())
    assert world.backends == world.original

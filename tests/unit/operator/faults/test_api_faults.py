"""The API server fails at each call of each turn, in each way that it can, and what may never happen never
does.

The real loop looks, plans and acts on an API server in memory. A *site* is a call of one kind in one phase:
its verb, what it is about, and the phase that the rollout is in. Each fault is put at each site when that is
first reached, those of failed turns too (an Event, a condition), so one rollout meets it dozens of times.
"""

import copy
from collections import Counter
from collections.abc import Iterator

import pytest
from indexcache_core.contract import Mode
from indexcache_operator.api.status import Phase
from indexcache_operator.plan.facts.revision import KILL

from tests.unit.operator.faults.faulty import (
    FAULTS,
    FaultyApi,
    ends_at_the_baseline,
    ends_promoted,
    loop_over,
    once,
    play,
    rests,
    turn,
)
from tests.unit.operator.faults.simulated import SimulatedEngines
from tests.unit.operator.plan.held import turned
from tests.unit.operator.plan.world import World, good


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
    api = FaultyApi(world, once(fault))
    loop = loop_over(api)
    await play(loop, api, Phase.PROMOTED, Phase.FELL_BACK)
    COUNTS[str(fault)] += api.injected
    await ends_promoted(loop, api)
    assert fault is None or api.injected >= (10 if fault == "stale" else 25)


@pytest.mark.parametrize("fault", [None, *FAULTS])
async def test_a_harmful_pattern_is_taken_back_whatever_the_api_server_does(fault: str | None) -> None:
    world = turned(World())
    SimulatedEngines.world = world
    api = FaultyApi(world, once(fault))
    loop = loop_over(api)
    await play(loop, api, Phase.FELL_BACK)
    COUNTS[str(fault)] += api.injected
    await ends_at_the_baseline(loop, api, "RecallBelowThreshold")
    assert Phase.PROMOTED not in world.phases  # I5, I10


_promoted: list[FaultyApi] = []


async def promoted() -> FaultyApi:
    """Return an API server of a promoted rollout, brought there once."""
    if not _promoted:
        api = FaultyApi(World(recall=good))
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
    api.due = once(fault)
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

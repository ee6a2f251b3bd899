"""A pod that left the baseline's Service turns reuse on only when certainly nobody comes to it that way any more."""

import pytest
from indexcache_core.contract import Mode
from indexcache_core.evidence.traffic import DELTA, at_most, spent
from indexcache_operator.api.status import Phase, Status
from indexcache_operator.plan import silence
from indexcache_operator.plan.look import Look
from indexcache_operator.plan.memory import Memory

from tests.unit.operator.plan.world import World, good, spec

POD = "pod-1"
"""The first that a canary takes."""


def leaving(world: World) -> World:
    """A canary's first pod has just left the baseline's Service, and no proxy knows of it."""
    world.cut_off = True
    return world.wait(lambda w: not w.pods[POD].baseline)


def never_reuses(world: World, looks: int) -> None:
    for _ in range(looks):
        world.look()
        assert world.modes() == {Mode.SHADOW}
    assert world.status.phase is Phase.CANARY


@pytest.mark.parametrize("seed", range(5))
def test_a_pod_that_the_proxies_still_send_to_does_not_reuse(seed: int) -> None:
    world = leaving(World(recall=good, seed=seed).until(Phase.CANARY))
    never_reuses(world, 200)
    world.cut_off = False
    world.until(Phase.PROMOTED)
    assert world.strays == 0


def test_a_pod_busy_with_a_long_prefill_is_not_silent() -> None:
    """What waits behind the prefill moves no counter, and would be scheduled under reuse."""
    world = World(recall=good).until(Phase.CANARY)
    world.pods[POD].busy = True
    never_reuses(leaving(world), 60)
    assert POD in world.status.message
    world.end_prefill(world.pods[POD])
    world.cut_off = False
    world.until(Phase.PROMOTED)
    assert world.strays == 0


def test_a_request_that_runs_on_is_waited_for_without_any_fault() -> None:
    world = World(recall=good).until(Phase.CANARY).wait(lambda w: not w.pods[POD].baseline)
    world.pods[POD].busy = True
    never_reuses(world, 60)
    world.end_prefill(world.pods[POD])
    world.until(Phase.PROMOTED)


def test_without_traffic_nothing_is_silent() -> None:
    world = leaving(World(recall=good).until(Phase.CANARY))
    world.rate = 0
    never_reuses(world, 60)


def test_the_past_of_an_engine_that_answers_late_is_no_traffic() -> None:
    world = World(recall=good).until(Phase.CANARY)
    other = world.pods["pod-2"]
    other.admitted_baseline, other.reachable = 1000, False
    leaving(world).rate = 0
    world.look()
    other.reachable = True
    never_reuses(world, 20)


def test_a_request_to_a_silent_pod_takes_the_silence_back() -> None:
    world = World(recall=good).until(Phase.CANARY).wait(lambda w: w.memory and w.memory.silent)
    assert not world.pods[POD].canary
    world.pods[POD].admitted_baseline += 1
    world.look()
    assert not world.memory.silent
    world.look()
    assert world.modes() == {Mode.SHADOW}
    world.until(Phase.PROMOTED)


@pytest.mark.parametrize("end", [Phase.PROMOTED, Phase.FELL_BACK])
def test_a_pod_that_was_silent_in_an_earlier_try_is_not_therefore_silent_in_the_next(end: Phase) -> None:
    world = World(recall=good).until(Phase.CANARY).wait(lambda w: w.status.traffic.desired > 0)
    if end is Phase.FELL_BACK:
        world.annotations["indexcache.dev/kill"] = world.status.revision
    world.until(end)
    world.spec = spec(indexCache={"pattern": "FFFS", "minContextTokens": 0})
    world.until(Phase.CANARY)
    reused = world.reuse_admitted
    never_reuses(leaving(world), 60)
    assert world.reuse_admitted == reused
    world.cut_off = False
    world.until(Phase.PROMOTED)
    assert world.strays == 0


def test_a_new_operator_knows_which_pod_was_silent() -> None:
    world = World(recall=good).until(Phase.CANARY).wait(lambda w: w.memory and w.memory.silent)
    world.memory = None
    world.look()
    assert {life[0] for life in world.memory.silent} == {POD}


def test_the_chance_of_a_false_silence_is_bounded_over_all_time() -> None:
    """However often counting begins: the sum over all beginnings of the chance that none of so many requests comes."""
    share = 0.5 / 3
    needed, chance = 0, 0.0
    for number in range(1, 20_000):
        while at_most(0, needed, share) > spent(number):
            needed += 1
        chance += (1 - share) ** needed
    assert chance <= DELTA
    assert needed < 200


def test_a_pod_with_half_of_an_even_share_is_never_silent_in_twenty_thousand_requests() -> None:
    """Were each beginning allowed DELTA, it would be called silent after six thousand in the mean."""
    world = World(rate=0, seed=3)
    world.deploy()
    pods = list(world.pods.values())
    pods[0].baseline = False
    status, memory = Status(phase=Phase.CANARY, canary_pods=[POD]), Memory(key="")
    for _ in range(4000):
        for _ in range(5):
            pods[0 if world.random.random() < 0.5 / 3 else world.random.choice([1, 2])].admitted_baseline += 1
        world.pass_time()
        memory = silence.observe(Look(world.observe()), status, memory)
        assert not memory.silent
    assert memory.leaving

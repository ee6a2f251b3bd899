"""A pod that left the baseline's Service turns reuse on only when certainly nobody comes to it that way."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from indexcache_core.contract import Mode, Requests, State
from indexcache_core.evidence.traffic import DELTA, at_most, spent
from indexcache_operator.api.status import Phase, PodStatus, Status
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.snapshot import Snapshot
from indexcache_operator.plan.traffic import draining

from tests.unit.operator.plan.build import NOW, case, engine, observation, pod, status
from tests.unit.operator.plan.world import World, good
from tests.unit.operator.plan.world_parts import spec

POD = "pod-1"
"""The first that a canary takes."""


def leaving(world: World) -> World:
    """Bring a canary's first pod out of the baseline's Service, just now: no proxy knows of it."""
    world.cut_off = True
    return world.wait(lambda w: not w.pods[POD].baseline)


def never_reuses(world: World, looks: int) -> None:
    for _ in range(looks):
        world.snapshot()
        assert world.modes() == {Mode.SHADOW}
    assert world.status.phase is Phase.CANARY


@pytest.mark.simulation
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
    world.snapshot()
    other.reachable = True
    never_reuses(world, 20)


def test_a_request_to_a_silent_pod_takes_the_silence_back() -> None:
    world = World(recall=good).until(Phase.CANARY).wait(lambda w: bool(w.drained_pods))
    assert not world.pods[POD].canary
    world.pods[POD].admitted_baseline += 1
    world.snapshot()
    assert not world.drained_pods
    world.snapshot()
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
    world = World(recall=good).until(Phase.CANARY).wait(lambda w: bool(w.drained_pods))
    world.memory = None
    world.snapshot()
    assert {life[0] for life in world.drained_pods} == {POD}


@pytest.mark.simulation
def test_the_chance_of_a_false_silence_is_bounded_over_all_time() -> None:
    """However often counting begins: the sum of the chances that none of so many requests comes."""
    share = 0.5 / 3
    needed, chance = 0, 0.0
    for number in range(1, 20_000):
        while at_most(0, needed, share) > spent(number):
            needed += 1
        chance += (1 - share) ** needed
    assert chance <= DELTA
    assert needed < 200


@pytest.mark.simulation
def test_a_pod_with_half_of_an_even_share_is_never_silent_in_twenty_thousand_requests() -> None:
    """Were each beginning allowed DELTA, it would be called silent after six thousand in the mean."""
    world = World(rate=0, seed=3)
    world.deploy()
    pods = list(world.pods.values())
    pods[0].baseline = False
    status, memory = Status(phase=Phase.CANARY, canary_pods=(POD,)), Memory(key="")
    for _ in range(4000):
        for _ in range(5):
            pods[0 if world.random.random() < 0.5 / 3 else world.random.choice([1, 2])].admitted_baseline += 1
        world.pass_time()
        memory = draining.observe(case(Snapshot(world.observe()), status, memory))
        assert not memory.drained_pods
    assert memory.draining


# ------------------------------------------------------------------------- one look at a time


LIFE, OTHER = ("a", "life"), ("b", "life")
NEEDED = next(n for n in range(1000) if at_most(0, n, 0.5 / 2) <= spent(1))
"""Of so many requests to two pods one comes to one with half of its share, but for a chance of DELTA / 2."""


def counted(n: int, running: int = 0, reuse: int = 0) -> State:
    return engine(requests=Requests(admitted_baseline=n, running_baseline=running, running_reuse=reuse))


def looked(
    a: State | None, b: State | None, seconds: float = 0.0, b_label: bool = True, **changes: Any
) -> Snapshot:
    """Return a look at the canary's pod a, behind no Service, and the baseline's b."""
    pods = (pod("a", a, **{"baseline_label": False, **changes}), pod("b", b, baseline_label=b_label))
    return Snapshot(replace(observation(*pods), now=NOW + timedelta(seconds=seconds)))


def observed(*looks: Snapshot, memory: Memory | None = None, **kept: Any) -> Memory:
    found = memory or Memory(key="try")
    for each in looks:
        found = draining.observe(case(each, status(**{"canary_pods": ("a",), **kept}), found))
    return found


@pytest.mark.parametrize(
    ("others", "seconds", "expected"),
    [
        (NEEDED, 2.0, True),
        (NEEDED - 1, 2.0, False),
        (NEEDED, 1.9, False),
    ],
)
def test_a_pod_is_silent_after_so_many_requests_to_others_and_so_long(
    others: int, seconds: float, expected: bool
) -> None:
    memory = observed(looked(counted(5), counted(0)), looked(counted(5), counted(others), seconds))
    assert (memory.drained_pods == {LIFE}) is expected
    assert list(memory.draining) == [LIFE]


@pytest.mark.parametrize(
    "second",
    [
        looked(counted(0, running=1), counted(NEEDED), 9),
        looked(counted(0, reuse=1), counted(NEEDED), 9),
        looked(counted(0), counted(NEEDED), 9, b_label=False),
    ],
)
def test_a_pod_that_still_works_or_whose_traffic_has_nowhere_to_go_is_not_silent(second: Snapshot) -> None:
    assert not observed(looked(counted(0), counted(0)), second).drained_pods


def test_a_request_to_it_begins_the_count_anew_and_for_more() -> None:
    first = observed(looked(counted(0), counted(0)), looked(counted(1), counted(NEEDED), 9))
    assert (first.drained_pods, first.draining[LIFE].number) == (frozenset(), 2)
    assert first.draining[LIFE].admitted == {LIFE: 1, OTHER: NEEDED}
    assert not observed(looked(counted(1), counted(2 * NEEDED), 19), memory=first).drained_pods
    assert observed(looked(counted(1), counted(3 * NEEDED), 19), memory=first).drained_pods


def test_who_is_known_to_be_silent_stays_so_until_a_request_comes() -> None:
    known = observed(looked(counted(0), counted(0)), looked(counted(0), counted(NEEDED), 9))
    assert observed(looked(counted(0), counted(NEEDED), 9.5), memory=known).drained_pods == {LIFE}
    assert observed(looked(counted(0, running=1), counted(NEEDED), 9.5), memory=known).drained_pods == {LIFE}
    assert not observed(looked(counted(1), counted(NEEDED), 9.5), memory=known).drained_pods


def test_what_was_known_of_a_pod_that_can_not_be_asked_is_kept() -> None:
    known = observed(looked(counted(0), counted(0)), looked(counted(0), counted(NEEDED), 9))
    both = replace(
        known,
        drained_pods=known.drained_pods | {OTHER},
        draining={**known.draining, OTHER: known.draining[LIFE]},
    )
    after = observed(looked(None, counted(NEEDED), 10), memory=both)
    assert (set(after.drained_pods), after.draining) == ({LIFE}, known.draining)
    nobody = observed(looked(None, counted(0)))
    assert not nobody.drained_pods
    assert not nobody.draining


def test_behind_the_canarys_service_silence_is_kept_and_no_longer_counted() -> None:
    known = observed(looked(counted(0), counted(0)), looked(counted(0), counted(NEEDED), 9))
    after = observed(looked(counted(50), counted(NEEDED), 10, canary_label=True), memory=known)
    assert after.drained_pods == {LIFE}
    assert not after.draining
    assert not observed(looked(counted(0), counted(0), canary_label=True)).drained_pods
    assert observed(
        looked(counted(0), counted(0), canary_label=True),
        memory=replace(known, drained_pods=frozenset({LIFE, OTHER})),
    ).drained_pods == {LIFE}


def test_behind_the_baselines_service_and_outside_the_canary_nothing_is_known() -> None:
    known = observed(looked(counted(0), counted(0)), looked(counted(0), counted(NEEDED), 9))
    back = observed(looked(counted(0), counted(NEEDED), 10, baseline_label=True), memory=known)
    assert not back.drained_pods
    assert not back.draining
    assert not observed(looked(counted(0), counted(NEEDED), 10), memory=known, canary_pods=()).drained_pods


def test_each_pod_of_the_canary_is_looked_at() -> None:
    """One that stands elsewhere, or can't be asked, hides none after it."""
    pods = (pod("c"), pod("d", None, baseline_label=False), pod("e", baseline_label=False, canary_label=True))
    first = looked(counted(0), counted(0))
    seen = Snapshot(replace(first.observation, pods=(*pods, *first.observation.pods)))
    assert list(observed(seen, canary_pods=("c", "d", "e", "a")).draining) == [LIFE]


def test_after_a_restart_a_pod_that_is_wanted_to_reuse_was_silent() -> None:
    wanted = [PodStatus(name="a", desired="on-canary-1")]
    assert observed(looked(counted(0), counted(0)), pods=wanted).drained_pods == {LIFE}
    assert not observed(
        looked(counted(0), counted(0)), pods=(PodStatus(name="a", desired="shadow-1"),)
    ).drained_pods
    begun = observed(looked(counted(0), counted(0)))
    assert not observed(looked(counted(0), counted(0), 1), memory=begun, pods=wanted).drained_pods


def test_pods_that_can_not_be_asked_take_nothing_from_the_others() -> None:
    known = observed(looked(counted(0), counted(0)), looked(counted(0), counted(NEEDED), 9))
    both = replace(
        known,
        drained_pods=known.drained_pods | {("z", "life")},
        draining={**known.draining, ("z", "life"): known.draining[LIFE]},
    )
    first = looked(counted(0), counted(NEEDED), 10)
    seen = Snapshot(
        replace(first.observation, pods=(*first.observation.pods, pod("z", None, baseline_label=False)))
    )
    after = observed(seen, memory=both, canary_pods=["a", "z"])
    assert after.drained_pods == {LIFE, ("z", "life")}
    assert set(after.draining) == {LIFE, ("z", "life")}


def test_requests_of_both_kinds_run_on() -> None:
    first = looked(counted(0), counted(0))
    assert not observed(first, looked(counted(0, running=1, reuse=1), counted(NEEDED), 9)).drained_pods


def test_fewer_requests_tell_where_fewer_pods_share_them() -> None:
    """A pod that isn't ready has no share, so the only one that is would have got half of all."""
    alone = next(n for n in range(1000) if at_most(0, n, 0.5) <= spent(1))
    assert alone < NEEDED
    first = looked(counted(0), counted(0), ready=False)
    assert observed(first, looked(counted(0), counted(alone), 9, ready=False)).drained_pods == {LIFE}

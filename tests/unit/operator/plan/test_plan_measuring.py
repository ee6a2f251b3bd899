"""Whole rollouts whose engines stop measuring while requests go on, or don't begin: no step ends and no pod
stays under reuse by what others showed, or the same one earlier. Where no request comes nothing changes.
"""

from __future__ import annotations

import pytest
from indexcache_core.contract import Mode
from indexcache_core.evidence.freshness import OWN, requests_until
from indexcache_operator import model
from indexcache_operator.api.status import Origin, Phase, Status

from tests.unit.operator.plan.anew import ORDER, looks
from tests.unit.operator.plan.world import World, good
from tests.unit.operator.plan.world_parts import spec

LATE = {"shadow": {"minRequests": 20}, "steps": [{"weight": 20}, {"weight": 50}], "progressDeadline": "24h"}
"""A strategy whose steps have time."""


def measuring(world: World, *, does: bool) -> None:
    """Let all engines measure, those to come too, or none."""
    world.newborn_measure = does
    for pod in world.pods.values():
        pod.measures = does


def second_step(world: World) -> World:
    """Look on until the second step begins, all certificates there."""
    return world.wait(lambda w: w.status.step is not None and w.status.step.index == 1, looks=600)


def look(world: World, times: int) -> None:
    for _ in range(times):
        world.snapshot()


def test_a_step_without_observations_of_its_own_waits_and_is_held() -> None:
    world = second_step(World(recall=good))
    measuring(world, does=False)
    world.until(Phase.FALLING_BACK, looks=2000)
    assert Phase.PROMOTING not in world.phases
    assert world.status.fallback is not None
    assert world.status.fallback.origin is Origin.PLATFORM
    assert world.status.rejected == ()
    world.until(Phase.SHADOWING)
    assert world.modes() == {Mode.SHADOW}


def test_what_the_step_waits_for_is_said() -> None:
    world = second_step(World(recall=good, spec=spec(strategy=LATE)))
    measuring(world, does=False)
    look(world, 40)
    wait = world.status.waiting
    assert wait is not None
    assert wait.reason == "OwnObservations"
    assert "of this step's own" in wait.message
    look(world, 100)
    wait = world.status.waiting
    assert wait is not None
    assert (wait.origin, wait.reason) == (Origin.PLATFORM, "NothingMeasured")
    assert "pod-1" in wait.message


def test_a_step_whose_new_pods_never_report_waits_for_each_of_them() -> None:
    """The pods of the first step go on measuring, so that all certificates are there all the time."""
    world = second_step(World(recall=good, spec=spec(strategy=LATE)))
    (first,) = world.status.canary_pods
    for name, pod in world.pods.items():
        pod.measures = name == first
    look(world, 60)
    assert len(world.status.canary_pods) == 2
    (silent,) = set(world.status.canary_pods) - {first}
    assert world.status.waiting is not None
    assert silent in world.status.waiting.message
    world.until(Phase.FALLING_BACK, looks=3000)
    assert Phase.PROMOTING not in world.phases
    assert world.status.fallback is not None
    assert world.status.fallback.cause == "MeasuringStopped"
    assert silent in world.status.fallback.message


def test_a_step_that_is_exposed_again_wants_observations_of_its_own() -> None:
    world = second_step(World(recall=good))
    measuring(world, does=False)
    world.until(Phase.FALLING_BACK, looks=2000).until(Phase.SHADOWING)
    world.until(Phase.CANARY, looks=3000)
    look(world, 100)
    assert world.status.phase is Phase.CANARY
    assert world.status.step is not None
    assert world.status.step.index == 0
    measuring(world, does=True)
    world.until(Phase.PROMOTED, looks=600)


def test_a_promoted_rollout_that_stops_measuring_is_taken_back_and_exposed_again_once_it_is_back() -> None:
    world = World(recall=good, rate=60).until(Phase.PROMOTED)
    measuring(world, does=False)
    admitted = {p.name: p.admitted_reuse for p in world.pods.values()}
    world.until(Phase.FALLING_BACK, looks=2000)
    bound = requests_until(1) + requests_until(2) + 2 * world.rate
    assert all(p.admitted_reuse - admitted[p.name] <= bound for p in world.pods.values())
    assert world.status.fallback is not None
    assert (world.status.fallback.cause, world.status.fallback.origin) == (
        "MeasuringStopped",
        Origin.PLATFORM,
    )
    world.until(Phase.SHADOWING)
    assert (world.status.rejected, world.modes()) == ((), {Mode.SHADOW})
    assert "MeasuringStopped" in [a.reason for a in world.done if isinstance(a, model.Event)]
    look(world, 1000)  # beyond the pause
    assert world.status.phase is Phase.SHADOWING
    assert "measured nothing since" in world.status.reason
    measuring(world, does=True)
    world.until(Phase.CANARY, looks=200).until(Phase.PROMOTED, looks=600)
    assert world.failed_requests == 0


def test_a_pod_that_is_exposed_after_the_promotion_and_never_reports_takes_all_back() -> None:
    world = World(recall=good).until(Phase.PROMOTED)
    world.newborn_measure = False
    world.lose("pod-1")
    world.until(Phase.FALLING_BACK, looks=2000)
    assert world.status.fallback is not None
    assert world.status.fallback.cause == "MeasuringStopped"
    assert "pod-4" in world.status.fallback.message


def test_a_quiet_night_changes_nothing() -> None:
    world = World(recall=good).until(Phase.PROMOTED)
    look(world, 10)
    measuring(world, does=False)
    world.rate = 0
    look(world, 20)
    before = world.writes
    look(world, 800)
    assert (world.status.phase, world.modes()) == (Phase.PROMOTED, {Mode.ON})
    assert world.writes <= before + 1  # figures, every ten minutes


def test_short_requests_and_those_of_an_operators_absence_are_none_that_should_be_measured() -> None:
    world = World(recall=good).until(Phase.PROMOTED)
    world.rate, world.lengths = 100, {0: 1.0}
    look(world, 150)
    assert world.status.phase is Phase.PROMOTED
    world.lengths = {3: 1.0}
    for _ in range(300):  # permits lapse after 60 s, and reuse with them
        world.pass_time()
    assert world.modes() == {Mode.TRIPPED}
    world.memory = None
    look(world, 100)
    assert (world.status.phase, world.modes()) == (Phase.PROMOTED, {Mode.ON})


@pytest.mark.parametrize("seed", [1, 2])
def test_an_operator_that_begins_anew_goes_on_no_sooner(seed: int) -> None:
    """At any look of a history in which measuring comes and goes."""
    world = World(recall=good, seed=seed, spec=spec(strategy=LATE))
    world.until(Phase.SHADOWING)
    world.rate, compared = 60, 0
    for look in looks(world, 300):
        old, new = look.goes_on.status, look.begins.status
        if old.phase is Phase.FALLING_BACK and look.seen.status.phase is not Phase.FALLING_BACK:
            assert new.phase is Phase.FALLING_BACK
        if look.tries:
            assert place(new) <= place(old)
            compared += 1
        if world.random.random() < 0.02:
            measuring(world, does=world.random.random() < 0.5)
        if world.random.random() < 0.01:
            world.lose(world.random.choice(sorted(world.pods)))
    assert compared > 150


def test_each_step_that_ends_has_its_own() -> None:
    world, ends = World(recall=good), []
    while world.status.phase is not Phase.PROMOTED:
        before, counts = world.status.step, on_counts(world)
        world.snapshot()
        if before is not None and world.status.step != before:
            index = world.status.step.index if world.status.step else -1
            if index != before.index:
                ends.append(counts)
    assert len(ends) == 2
    assert ends[0] >= OWN
    assert ends[1] - ends[0] >= OWN


def place(status: Status) -> tuple[int, int]:
    """Return how far a try has come."""
    return ORDER.index(status.phase), status.step.index if status.step else 0


def on_counts(world: World) -> int:
    """Return how many observations there are under reuse."""
    return sum(
        h.count
        for pod in world.pods.values()
        for (site, _, _, mode), h in pod.series.items()
        if site is None and mode is Mode.ON
    )

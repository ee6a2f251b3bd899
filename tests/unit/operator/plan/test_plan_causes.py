"""Whole rollouts that don't end by the pattern's fault: none is rejected, and each goes on by itself, or says
what a person can do.
"""

from indexcache_core.contract import Mode
from indexcache_operator.api.status import Origin, Phase

from tests.unit.operator.plan.world import World, bad, good
from tests.unit.operator.plan.world_parts import spec

STEADY = 700
"""Looks in which five minutes of traffic are seen."""


def held(world: World, origin: Origin) -> World:
    """Look on until the canary was held, and check what must be so then."""
    world.until(Phase.FALLING_BACK, looks=800).until(Phase.SHADOWING)
    assert world.status.rejected == ()
    assert world.status.hold is not None
    assert world.status.hold.origin is origin
    assert world.backends == world.original
    assert world.modes() == {Mode.SHADOW}
    assert not any(p.canary for p in world.pods.values())
    return world


def test_a_canary_without_traffic_is_held_and_exposed_again_once_there_is_enough() -> None:
    world = World(recall=good).until(Phase.CANARY)
    began, series = world.status.revision_started_at, {p.switch.series_number for p in world.pods.values()}
    world.rate = 0
    held(world, Origin.TRAFFIC)
    assert world.status.hold is not None
    assert world.status.hold.requests_per_minute_needed
    for _ in range(900):  # beyond the pause
        world.snapshot()
    assert world.status.phase is Phase.SHADOWING
    assert "needed" in world.status.reason
    world.rate = 20
    world.until(Phase.CANARY, looks=STEADY).until(Phase.PROMOTED)
    assert world.status.revision_started_at == began  # the same try: no certificate was asked for twice
    assert {p.switch.series_number for p in world.pods.values()} == series
    assert world.status.hold is None
    assert world.failed_requests == 0


def test_a_route_that_somebody_else_writes_is_the_platforms_doing() -> None:
    world = World(recall=good).until(Phase.CANARY)

    def puts_it_back(w: World) -> None:
        if w.status.phase is Phase.CANARY and w.backends != w.original:
            w.set_route(w.original)

    for _ in range(800):
        world.snapshot(puts_it_back)
        if world.status.phase is Phase.FALLING_BACK:
            break
    held(world, Origin.PLATFORM)


def test_pods_that_never_get_ready_are_the_platforms_doing() -> None:
    world = World(recall=good).until(Phase.CANARY)

    def evicts(w: World) -> None:
        for name in w.status.canary_pods:
            if name in w.pods:
                w.pods[name].ready = False

    for _ in range(800):
        world.snapshot(evicts)
        if world.status.phase is Phase.FALLING_BACK:
            break
    assert world.status.fallback is not None
    assert (world.status.fallback.cause, world.status.fallback.origin) == (
        "PlatformNotReady",
        Origin.PLATFORM,
    )


def test_an_operator_that_was_away_past_the_deadline_rejects_nothing() -> None:
    world = World(recall=good).until(Phase.CANARY).wait(lambda w: w.status.traffic.desired > 0)
    for _ in range(300):
        world.pass_time()
    world.until(Phase.PROMOTED)
    assert world.status.rejected == ()


def test_a_hold_still_ends_by_a_breach() -> None:
    world = World(recall=good).until(Phase.CANARY)
    world.rate = 0
    held(world, Origin.TRAFFIC)
    world.rate, world.recall = 20, bad
    world.until(Phase.FELL_BACK)
    assert [r.reason for r in world.status.rejected] == ["RecallBelowThreshold"]


def test_an_edit_of_the_spec_ends_a_hold() -> None:
    world = World(recall=good).until(Phase.CANARY)
    world.rate = 0
    held(world, Origin.TRAFFIC)
    world.rate, world.generation = 20, 2
    world.spec = spec(strategy={"shadow": {"minRequests": 20}, "steps": [{"weight": 20}, {"weight": 50}]})
    world.until(Phase.CANARY, looks=60)


def test_a_kill_that_is_taken_back_leads_to_another_try_and_nothing_else_does() -> None:
    world = World(recall=good).until(Phase.CANARY)
    world.annotations["indexcache.dev/kill"] = "true"
    world.until(Phase.FELL_BACK)
    for _ in range(20):
        world.snapshot()
    assert (world.status.phase, world.status.rejected) == (Phase.FELL_BACK, ())
    assert world.status.waiting is not None
    assert world.status.waiting.way_out == "remove annotation indexcache.dev/kill to try it again"
    del world.annotations["indexcache.dev/kill"]
    world.until(Phase.PROMOTED)

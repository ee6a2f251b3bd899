"""The plan where the world fails it: lost pods, a gateway cut off, silent engines, no route, a deletion."""

from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_operator import model
from indexcache_operator.api.status import Phase

from tests.unit.operator.plan.held import safe
from tests.unit.operator.plan.world import World, bad, good
from tests.unit.operator.plan.world_parts import spec


def test_a_lost_canary_pod_gives_its_share_back_and_the_rollout_goes_on() -> None:
    world = World(recall=good).until(Phase.CANARY)
    world.wait(lambda w: any("-canary" in b["name"] for b in w.backends))
    world.lose(world.status.canary_pods[0])
    world.snapshot()
    assert world.backends == world.original
    failed = world.failed_requests
    world.until(Phase.PROMOTED)
    assert world.failed_requests == failed


def test_the_last_baseline_pod_lost_brings_the_canary_home() -> None:
    world = World(recall=good).until(Phase.CANARY)
    world.wait(
        lambda w: not (w.status.step is None or w.status.step.index < 1 or len(w.status.canary_pods) < 2)
    )
    for pod in world.pods.values():
        if pod.name not in world.status.canary_pods:
            pod.ready = False
    for _ in range(3):
        world.snapshot()
    failed = world.failed_requests
    for _ in range(10):
        world.snapshot()
    assert world.failed_requests == failed
    for pod in world.pods.values():
        pod.ready = True
    world.until(Phase.PROMOTED)


def test_a_gateway_cut_off_from_its_proxies_is_not_believed_on_the_way_up() -> None:
    world = World(recall=good).until(Phase.SHADOWING)
    world.cut_off = True
    world.until(Phase.CANARY)
    for _ in range(60):
        world.snapshot()
    assert world.status.phase is Phase.CANARY
    assert world.status.step is not None
    assert world.status.step.reached_at is None
    world.cut_off = False
    world.until(Phase.PROMOTED)


def test_a_cut_off_gateway_costs_few_writes_and_no_moment_of_false_trust() -> None:
    """Each few requests contradict the weight: what is written of it is when it begins, and what is seen
    every ten seconds.
    """
    world = World(recall=good).until(Phase.CANARY)
    world.cut_off, world.rate = True, 4
    world.wait(lambda w: not w.pods["pod-1"].baseline).wait(lambda w: not verified(w))
    writes = world.writes
    for _ in range(100):
        world.snapshot()
        assert not verified(world)
    assert world.writes - writes <= 2 * 100 * 0.5 / 10
    world.cut_off, world.rate = False, 20
    world.until(Phase.PROMOTED)


def verified(world: World) -> bool:
    return next(c for c in world.status.conditions if c.type == "TrafficVerified").status == "True"


def test_a_gateway_cut_off_while_falling_back_is_seen_and_engines_are_off_all_the_same() -> None:
    steps = {
        "strategy": {
            "shadow": {"minRequests": 20},
            "steps": [{"weight": 20}, {"weight": 50, "minDuration": "60s"}],
        }
    }
    world = World(spec=spec(**steps), recall=good).until(Phase.CANARY)
    world.wait(
        lambda w: not (w.status.step is None or w.status.step.index < 1 or w.status.step.reached_at is None)
    )
    world.cut_off, world.recall = True, bad
    world.until(Phase.FALLING_BACK)
    admitted = world.reuse_admitted
    for _ in range(80):
        world.snapshot()
    assert world.status.phase is Phase.FALLING_BACK
    assert world.reuse_admitted == admitted
    assert world.failed_requests == 0
    verified = next(c for c in world.status.conditions if c.type == "TrafficVerified")
    assert verified.status == "False"
    world.cut_off = False
    world.until(Phase.FELL_BACK)
    assert world.failed_requests == 0


@pytest.mark.parametrize("crashed", [False, True])
def test_a_fallback_ends_when_the_canary_was_seen_without_traffic_and_is_out_of_its_service(
    crashed: bool,
) -> None:
    """To see the same once more, by counters of pods that all stand behind the baseline's Service, would take
    a hundred requests.
    """
    steps = {"strategy": {"shadow": {"minRequests": 20}, "steps": [{"weight": 50, "minDuration": "60s"}]}}
    world = World(spec=spec(**steps), recall=good).until(Phase.CANARY)
    world.wait(lambda w: w.status.step is not None and w.status.step.reached_at is not None)
    world.rate, world.annotations["indexcache.dev/kill"] = 2, world.status.revision
    world.wait(lambda w: w.status.phase is Phase.FALLING_BACK and any(p.canary for p in w.pods.values()))
    world.wait(lambda w: not any(p.canary for p in w.pods.values()))
    if crashed:
        world.memory = None
    world.until(Phase.FELL_BACK, looks=3)
    assert world.failed_requests == 0
    assert world.backends == world.original


def test_an_unreachable_engine_is_killed_until_its_permit_has_lapsed() -> None:
    world = World(recall=good).until(Phase.CANARY)
    world.wait(lambda w: any("-canary" in b["name"] for b in w.backends))
    lost = world.pods[world.status.canary_pods[0]]
    lost.reachable = False
    world.annotations["indexcache.dev/kill"] = world.status.revision
    world.snapshot()
    assert any(a.pod == lost.name for a in world.done if isinstance(a, model.Kill))
    world.snapshot()
    assert "unreachable" in world.status.message
    world.until(Phase.FELL_BACK)
    assert Mode.ON not in world.modes()


def test_an_engine_that_misses_a_look_keeps_its_share_until_its_permit_ends() -> None:
    world = World(recall=good).until(Phase.CANARY)
    world.wait(lambda w: any("-canary" in b["name"] for b in w.backends))
    lost, share = world.pods[world.status.canary_pods[0]], world.backends
    remaining = world.state(lost).permit_remaining_seconds
    assert remaining is not None
    lost.reachable = False
    world.snapshot()
    assert (world.backends, lost.canary) == (share, True)
    lost.reachable = True
    world.snapshot()
    assert (world.backends, lost.canary) == (share, True)
    lost.reachable, began = False, world.now
    world.wait(lambda w: w.backends == w.original)
    assert (world.now - began).total_seconds() >= 0.5 * remaining
    assert world.failed_requests == 0


def test_without_a_route_the_weight_is_the_share_of_pods() -> None:
    world = World(spec=spec(traffic={}), recall=good).until(Phase.PROMOTED)
    assert world.failed_requests == 0
    assert world.backends == world.original
    assert not any(isinstance(a, model.PatchRoute) for a in world.done)


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
@pytest.mark.parametrize("phase", [Phase.CHECKING, Phase.SHADOWING, Phase.CANARY, Phase.PROMOTED])
def test_deletion_turns_reuse_off_then_restores_the_route_then_lets_go(policy: str, phase: Phase) -> None:
    world = World(spec=spec(deletionPolicy=policy), recall=good).until(phase)
    for _ in range(6):
        world.snapshot()
    world.deleting = True
    for _ in range(300):
        world.snapshot()
        if world.gone:
            break
    assert world.gone
    assert world.deleted == (policy == "Delete")
    assert world.released == (policy == "Retain")
    assert world.backends == world.original
    assert Mode.ON not in world.modes()
    if policy == "Retain":
        assert world.failed_requests == 0


def test_permits_that_all_lapse_in_one_absence_empty_no_service_before_the_route_changed() -> None:
    """Also where the route can't be written in that look, as by a fault of the API server."""
    world = World(recall=good).until(Phase.CANARY).wait(lambda w: sum(p.canary for p in w.pods.values()) == 2)
    for _ in range(12):
        world.pass_time(safe)
    assert Mode.TRIPPED in world.modes()
    set_route, failures = world.set_route, 3

    def failing(backends: tuple[dict[str, Any], ...]) -> None:
        nonlocal failures
        failures -= 1
        if failures < 0:
            set_route(backends)

    world.set_route = failing  # type: ignore[method-assign]
    world.until(Phase.PROMOTED, check=safe)
    assert failures < 0

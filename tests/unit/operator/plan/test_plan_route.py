"""Tests what becomes of a route that other people's backends are in, and of who comes by it."""

from indexcache_core.contract import Mode
from indexcache_operator.api.status import Phase

from tests.unit.operator.plan.world import World, good
from tests.unit.operator.plan.world_parts import spec


def test_foreign_backends_keep_their_share_and_come_back_untouched() -> None:
    """I9."""
    seen = set()
    world = World(recall=good).until(
        Phase.PROMOTED, check=lambda w: seen.add(tuple((b["name"], b["weight"]) for b in w.backends))
    )
    assert (("other", 100), ("chat-baseline", 160), ("chat-canary", 40)) in seen
    assert (("other", 100), ("chat-baseline", 100), ("chat-canary", 100)) in seen
    assert world.backends == world.original


def exposed(world: World) -> World:
    """Bring a canary under way, its backend in the route."""
    return world.until(Phase.CANARY).wait(lambda w: any("-canary" in b["name"] for b in w.backends))


def test_new_pods_of_a_rollout_that_falls_back_serve_the_baseline() -> None:
    """I3: what is aborted never grows again."""
    world = exposed(World(recall=good))
    world.annotations["indexcache.dev/kill"] = world.status.revision
    world.snapshot()
    world.spec = spec(engine={"image": "engine:1", "model": "/model", "replicas": 6})
    world.deploy()
    admitted = world.reuse_admitted
    world.until(Phase.FELL_BACK)
    for _ in range(5):
        world.snapshot()
    assert len(world.pods) == 6
    assert world.reuse_admitted == admitted
    assert not any(p.canary for p in world.pods.values())


def test_a_baseline_that_is_not_well_does_not_hold_a_fallback() -> None:
    """I11: engines are off at once, and the canary's pods, at the baseline again, serve behind both
    Services.
    """
    world = exposed(World(recall=good))
    for pod in world.pods.values():
        pod.ready = pod.name in world.status.canary_pods
    world.failed_requests = 0
    world.annotations["indexcache.dev/kill"] = world.status.revision
    world.snapshot()
    assert not any(p.ready and p.switch.mode is Mode.ON for p in world.pods.values())
    failed = world.failed_requests
    world.until(Phase.FELL_BACK)
    assert world.failed_requests <= failed + world.rate
    assert world.backends == world.original


def test_the_users_edit_of_the_route_survives_a_rollout() -> None:
    """I9: a list that somebody put back while the canary ran is the original from then on."""
    world = exposed(World(recall=good))
    edited = (
        {"group": "", "kind": "Service", "name": "other", "port": 80, "weight": 5},
        dict(world.original[1]),
    )
    world.set_route(edited)
    world.until(Phase.PROMOTED)
    assert world.backends == edited

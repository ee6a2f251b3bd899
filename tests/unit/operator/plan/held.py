"""Checks what may never happen in the small world (world.py), whatever befalls the operator."""

from indexcache_core.contract import Mode
from indexcache_operator.api.status import Phase

from tests.unit.operator.plan.world import World, bad, good


class WrongEnd(AssertionError):
    """A rollout that doesn't end, or not as it should."""


def reached(world: World, end: Phase) -> None:
    """Check that a rollout is in this phase. Raises WrongEnd."""
    if world.status.phase is not end:
        raise WrongEnd((world.status.phase, world.status.message, world.phases))


def safe(world: World) -> None:
    """Check what must hold after every look."""
    assert world.failed_requests == 0
    for name in {b["name"] for b in world.backends if world.pods} - {"other"}:
        label = "canary" if name.endswith("-canary") else "baseline"
        assert any(p.ready and getattr(p, label) for p in world.pods.values()), (
            f"the route names {name}, and nobody is behind it"
        )
    if world.status.phase in (Phase.FELL_BACK, Phase.CHECKING, Phase.SHADOWING):
        assert Mode.ON not in world.modes()


def drifting(world: World, mode: Mode) -> float:
    return bad(world, mode) if world.exposed and mode is Mode.ON else good(world, mode)


def turned(world: World) -> World:
    """Make the pattern harmful from the second step on."""
    world.exposed = False

    def recall(w: World, mode: Mode) -> float:
        w.exposed = w.exposed or (w.status.step is not None and w.status.step.index >= 1)
        return drifting(w, mode)

    world.recall = recall
    return world

"""Weights that are replaced under the same model name, at any time of a try."""

import pytest
from indexcache_core.contract import Mode
from indexcache_operator.api.status import Phase

from tests.unit.operator.plan.world import World, good

TRIED = [Phase.SHADOWING, Phase.CANARY, Phase.PROMOTING, Phase.PROMOTED]


def replaced(world: World, checkpoint: str) -> None:
    """Take away a pod whose successor loads other weights."""
    world.checkpoint = checkpoint
    world.lose(next(iter(world.pods)))


@pytest.mark.parametrize("phase", TRIED)
def test_it_ends_the_try_without_a_verdict_and_waits_until_all_serve_one(phase: Phase) -> None:
    world = World(recall=good, checkpoint="x").until(phase)
    assert world.status.checkpoint == "x"
    replaced(world, "y")
    world.until(Phase.CHECKING)
    assert Mode.ON not in world.modes()
    assert world.status.rejected == ()
    assert world.status.history[-1].reason == "CheckpointReplaced"
    for _ in range(10):
        world.snapshot()
    assert world.status.phase is Phase.CHECKING
    assert "found different checkpoints under spec.engine.model" in world.status.message
    for name in [pod.name for pod in world.pods.values() if pod.checkpoint == "x"]:
        world.lose(name)
    began = world.now
    world.until(Phase.PROMOTED)
    assert world.status.checkpoint == "y"
    assert world.status.revision_started_at is not None
    assert world.status.revision_started_at < began
    assert world.failed_requests == 0


def test_engines_that_do_not_say_stop_nothing() -> None:
    world = World(recall=good).until(Phase.PROMOTED)
    assert world.status.checkpoint == ""
    world.checkpoint = "x"
    world.lose(next(iter(world.pods)))
    for _ in range(10):
        world.snapshot()
    assert (world.status.phase, world.status.checkpoint) == (Phase.PROMOTED, "x")

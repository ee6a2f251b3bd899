"""A rollout that a backup brings back, status and all: another object with another uid."""

from dataclasses import replace

import pytest
from indexcache_core.contract import Mode
from indexcache_operator.api.status import Phase
from indexcache_operator.model import Kill, PatchRoute, PutFlags, SetLabels

from tests.unit.operator.plan.world import World, bad, good

TRIED = [Phase.SHADOWING, Phase.CANARY, Phase.PROMOTING, Phase.PROMOTED]


def backed_up(phase: Phase) -> World:
    """Return a world in which a good rollout has come as far as this phase."""
    world = World(recall=good).until(phase)
    for _ in range(3):
        if world.status.phase is phase:
            world.snapshot()
    return world


def restored(world: World) -> World:
    """Return the same, as another object."""
    world.uid, world.memory, world.done, world.phases = "another", None, [], []
    return world


def begun_anew(world: World) -> None:
    """Look on until a new try has measured, and check that nothing was exposed before."""
    admitted = world.reuse_admitted
    world.until(Phase.SHADOWING, check=off_once_it_checks)
    started = world.status.revision_started_at
    assert started is not None
    assert world.status.uid == "another"
    assert [h.reason for h in world.status.history][-1] == "Restored"
    assert world.status.rejected == ()
    since = world.reuse_admitted
    world.until(Phase.CANARY)
    assert world.reuse_admitted == since
    assert since - admitted <= 2 * world.rate  # what was under way when it was restored
    world.until(Phase.PROMOTED)
    assert world.failed_requests == 0
    assert world.backends == world.original


def off_once_it_checks(world: World) -> None:
    if world.status.phase in (Phase.CHECKING, Phase.SHADOWING):
        assert Mode.ON not in world.modes()


@pytest.mark.parametrize("phase", TRIED)
def test_beside_its_engines_it_takes_them_back_and_begins_anew(phase: Phase) -> None:
    world = restored(backed_up(phase))
    before = world.backends
    world.until(Phase.CHECKING, Phase.SHADOWING)
    patches = [action for action in world.done if isinstance(action, PatchRoute)]
    assert len(patches) == (before != world.original)
    assert world.backends == world.original
    begun_anew(world)


@pytest.mark.parametrize("phase", TRIED)
def test_in_another_cluster_nothing_is_exposed_on_what_was_shown_in_the_first(phase: Phase) -> None:
    status = backed_up(phase).status
    world = restored(World(recall=good))
    world.status = status
    world.until(Phase.CHECKING)
    assert not [action for action in world.done if isinstance(action, PatchRoute | PutFlags | SetLabels)]
    begun_anew(world)


@pytest.mark.parametrize("phase", [Phase.CANARY, Phase.PROMOTED])
def test_in_another_cluster_a_harmful_pattern_exposes_nobody(phase: Phase) -> None:
    status = backed_up(phase).status
    world = restored(World(recall=bad))
    world.status = status
    world.until(Phase.FELL_BACK)
    assert world.reuse_admitted == 0
    assert Phase.CANARY not in world.phases


def test_what_was_rejected_stays_rejected() -> None:
    world = restored(World(recall=bad).until(Phase.FELL_BACK))
    rejected = world.status.rejected
    for _ in range(20):
        world.snapshot()
    assert (world.status.phase, world.status.rejected, world.status.uid) == (
        Phase.FELL_BACK,
        rejected,
        "another",
    )
    assert not [a for a in world.done if isinstance(a, Kill | PatchRoute | PutFlags | SetLabels)]


def test_a_status_that_says_no_uid_is_its_own() -> None:
    """An older operator wrote none."""
    world = backed_up(Phase.PROMOTED)
    world.status, world.done = replace(world.status, uid=""), []
    for _ in range(5):
        world.snapshot()
    assert (world.status.phase, world.status.uid) == (Phase.PROMOTED, "uid")
    assert not [a for a in world.done if isinstance(a, Kill | PatchRoute | SetLabels)]

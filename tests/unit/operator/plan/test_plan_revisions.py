"""Tests what becomes of a revision that was rejected, named again, changed or superseded."""

from indexcache_core.contract import Mode
from indexcache_operator.api.status import Phase

from tests.unit.operator.plan.world import World, bad, good
from tests.unit.operator.plan.world_parts import spec


def test_a_rejected_revision_is_refused_until_retry_names_it_and_each_retry_works_once() -> None:
    """I13."""
    world = World(recall=bad).until(Phase.FELL_BACK)
    revision = world.status.revision
    for _ in range(10):
        world.snapshot()
    assert world.status.phase is Phase.FELL_BACK
    world.annotations["indexcache.dev/retry"] = revision
    world.until(Phase.SHADOWING).until(Phase.FELL_BACK)
    for _ in range(10):
        world.snapshot()
    assert world.status.phase is Phase.FELL_BACK
    world.annotations["indexcache.dev/retry"] = f"{revision}/2"
    world.until(Phase.SHADOWING)


def test_a_retry_is_judged_by_its_own_measurements() -> None:
    world = World(recall=bad).until(Phase.FELL_BACK)
    world.recall = good
    world.annotations["indexcache.dev/retry"] = world.status.revision
    world.until(Phase.PROMOTED)


def test_a_spec_that_returns_to_a_rejected_revision_is_refused_by_name() -> None:
    world = World(recall=bad).until(Phase.FELL_BACK)
    bad_spec, revision = world.spec, world.status.revision
    world.spec, world.recall = spec(indexCache={"pattern": "FFFS", "minContextTokens": 0}), good
    world.until(Phase.PROMOTED)
    world.spec = bad_spec
    world.until(Phase.FAILED)
    assert revision in world.status.message
    assert world.modes() == {Mode.OFF}


def test_a_change_of_pattern_starts_over_from_the_baseline() -> None:
    """I6: superseded evidence doesn't carry over."""
    world = World(recall=good).until(Phase.CANARY)
    for _ in range(8):
        world.snapshot()
    first = world.status.revision
    world.spec = spec(indexCache={"pattern": "FFFS", "minContextTokens": 0})
    world.until(Phase.CHECKING)
    assert world.modes() == {Mode.OFF}
    assert world.backends == world.original
    assert world.status.revision != first
    assert world.status.evidence == ()
    assert not world.status.rejected
    assert [h.outcome for h in world.status.history] == ["Superseded"]
    world.until(Phase.PROMOTED)
    assert world.failed_requests == 0


def test_a_change_of_engine_replaces_pods_only_after_the_way_back() -> None:
    world = World(recall=good).until(Phase.CANARY)
    for _ in range(8):
        world.snapshot()
    changed = world.spec.model_dump(by_alias=True) if world.spec else {}
    changed["engine"]["image"] = "engine:2"
    world.spec = spec(engine=changed["engine"])
    before = set(world.pods)
    world.until(Phase.FALLING_BACK)
    assert set(world.pods) == before
    world.until(Phase.PROMOTED)
    assert not before & set(world.pods)

"""Two operators at once, and leaders that change at any moment, contradict each other in nothing.

Two kinds. Without an election: both act all the time, each on a look that the other has already overtaken,
held apart by the API server's and the engines' fences alone. With one: a leader is deposed after any action
of its plan, and one write that it had under way arrives only after turns of the next.
"""

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from indexcache_operator.api import epochs
from indexcache_operator.api.status import Phase, Status

from tests.unit.operator.plan.contested import Contested, Operator
from tests.unit.operator.plan.contested_ends import (
    LOOKS,
    MAKE,
    checked,
    contend,
    deposed,
    harmless,
    lasts,
    rests,
)
from tests.unit.operator.plan.held import safe
from tests.unit.operator.plan.world import World, bad, good

CHANGES = 10


@pytest.mark.parametrize("end", list(MAKE))
@pytest.mark.parametrize("seed", range(6))
def test_two_that_both_act_on_looks_that_the_other_overtook_end_as_one(end: Phase, seed: int) -> None:
    world = MAKE[end](seed)
    second = contend(world, seed)
    checked(world, end)
    assert sum(world.refused.values()) > 0, "no look was ever stale"
    rests(world, second, end)


def leads(world: Contested, leader: Operator, end: Phase) -> None:
    """Let one operator lead until a phase."""
    for _ in range(LOOKS):
        world.turn(leader)
        world.after(safe)
        if world.status.phase is end:
            return
    raise AssertionError((world.status.message, world.phases))


@st.composite
def moments(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Draw changes of the leader: after how many turns, how many actions of the next turn; and how many turns
    of the new leader until the old one's last write arrives.
    """
    turns = st.integers(0, 8)
    change = st.tuples(turns, st.integers(0, 6), st.integers(0, 4))
    return draw(st.lists(change, min_size=CHANGES, max_size=CHANGES))


@pytest.mark.parametrize("end", list(MAKE))
@given(changes=moments(), seed=st.integers(0, 3))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_ten_changes_of_the_leader_at_any_moment_only_slow_things_down(
    end: Phase, changes: list[tuple[int, int, int]], seed: int
) -> None:
    world = MAKE[end](seed)
    leader = deposed(world, changes)
    lasts(world, leader)
    note(f"refused: {dict(world.refused)}")
    checked(world, end)
    rests(world, leader, end)


def lasting(status: Status) -> tuple[object, ...]:
    """Return what of a status no other reader may change: all but figures, which each begins anew."""
    pods = tuple((pod.name, pod.epoch, pod.desired, pod.permit) for pod in status.pods)
    ends = (status.phase, status.revision, status.fallback, status.rejected, status.history)
    return (*ends, status.epoch, status.route, status.canary_pods, pods)


def test_a_new_leaders_epochs_are_of_its_term_and_what_it_does_not_change_keeps_its_own() -> None:
    world, first = harmless(1), Operator(term=3)
    leads(world, first, Phase.PROMOTED)
    for _ in range(4):
        world.turn(first)
        world.after(safe)
    before, told = {name: pod.switch.epoch for name, pod in world.pods.items()}, lasting(world.status)
    assert {epochs.term(epoch) for epoch in before.values()} == {3}
    second = Operator(term=7)
    for _ in range(10):
        world.turn(second)
        world.after(safe)
    assert {name: pod.switch.epoch for name, pod in world.pods.items()} == before
    assert lasting(world.status) == told
    world.recall = bad
    leads(world, second, Phase.FELL_BACK)
    assert {epochs.term(pod.switch.epoch) for pod in world.pods.values()} == {7}


def test_epochs_from_before_there_were_terms_are_older_than_any_of_a_term() -> None:
    world = World(recall=good).until(Phase.CANARY)
    assert {epochs.term(pod.switch.epoch) for pod in world.pods.values()} == {0}
    world.term, world.memory = 1, None
    world.until(Phase.PROMOTED, check=safe)
    assert {epochs.term(pod.switch.epoch) for pod in world.pods.values()} == {1}
    assert world.failed_requests == 0


def test_a_lease_that_lost_its_count_gives_no_epoch_twice() -> None:
    """A term that is older than the epochs that are known, as of a Lease that somebody wrote by hand."""
    world = harmless(1)
    leader = Operator(term=9)
    leads(world, leader, Phase.CANARY)
    leader = Operator(term=2)
    leads(world, leader, Phase.PROMOTED)
    checked(world, Phase.PROMOTED)
    assert {epochs.term(pod.switch.epoch) for pod in world.pods.values()} == {9}

"""Plays two operators over one small world, or leaders that change, to the end, and checks that end."""

import random
from collections.abc import Sequence

from indexcache_core.contract import Mode
from indexcache_operator.api.status import Phase

from tests.unit.operator.plan.contested import Contested, Operator
from tests.unit.operator.plan.held import reached, safe, turned
from tests.unit.operator.plan.world import good

LOOKS = 900


def harmful(seed: int) -> Contested:
    """Return a world whose pattern turns harmful from the second step on."""
    world = Contested(seed=seed)
    turned(world)
    return world


def harmless(seed: int) -> Contested:
    """Return a world whose pattern is good."""
    return Contested(recall=good, seed=seed)


MAKE = {Phase.PROMOTED: harmless, Phase.FELL_BACK: harmful}


def checked(world: Contested, end: Phase) -> None:
    """Check what must hold at the end, and goes on holding while nothing changes."""
    reached(world, end)
    assert world.failed_requests == 0  # I2, I4
    assert world.strays == 0
    assert world.backends == world.original  # I1, I9
    assert all(len(contents) == 1 for contents in world.told.values())  # no epoch was given twice
    assert Phase.FELL_BACK not in world.phases[:-1]  # I7: nobody tries again what was taken back
    assert world.events.count("FellBack") <= 1  # I12 is at most once
    if end is Phase.FELL_BACK:
        assert [r.reason for r in world.status.rejected] == ["RecallBelowThreshold"]  # I13
        assert not any(p.canary for p in world.pods.values())  # I3
    else:
        assert world.status.rejected == ()
        assert [h.outcome for h in world.status.history] == ["Promoted"]


def rests(world: Contested, leader: Operator, end: Phase) -> None:
    """Check that a world at its end stays there under one operator, and that nothing is written (I8)."""
    for _ in range(6):
        world.turn(leader)
        world.after(safe)
    writes, admitted = world.writes, world.reuse_admitted
    for _ in range(10):
        world.turn(leader)
        world.after(safe)
    assert world.writes == writes
    assert world.modes() == {Mode.OFF if end is Phase.FELL_BACK else Mode.ON}
    if end is Phase.FELL_BACK:
        assert world.reuse_admitted == admitted  # I1


def contend(world: Contested, seed: int) -> Operator:
    """Let two operators act, each on looks that the other has overtaken, to the end. Return the second."""
    chance = random.Random(seed)
    both = [Operator(term=1), Operator(term=2)]
    for _ in range(LOOKS):
        one, other = chance.sample(both, 2)
        world.looks(one)
        world.turn(other)
        world.after(safe)
        world.acts(one)
        world.after(safe)
        if world.ended:
            break
    return both[1]


def deposed(world: Contested, changes: Sequence[tuple[int, int, int]]) -> Operator:
    """Let leaders change at these moments. Return the last one."""
    leader = Operator(term=1)
    for turns, done, late in changes:
        for _ in range(turns):
            world.turn(leader)
            world.after(safe)
        world.looks(leader)
        world.acts(leader, done)
        old, leader = leader, Operator(term=leader.term + 1)
        for _ in range(late):
            world.turn(leader)
            world.after(safe)
        world.acts(old, 1)
        world.after(safe)
    return leader


def lasts(world: Contested, leader: Operator) -> None:
    """Let one operator lead to the end."""
    for _ in range(LOOKS):
        if world.ended:
            break
        world.turn(leader)
        world.after(safe)

"""Tests that phases follow each other as the table says: each way that it lists is taken, and no other."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from indexcache_operator.api.status import FallbackStatus, Phase
from indexcache_operator.model import Observation
from indexcache_operator.plan import plan
from indexcache_operator.plan.facts import revision
from indexcache_operator.plan.phases.table import TABLE, followers

from tests.unit.operator.plan.world import World, bad, good
from tests.unit.operator.plan.world_parts import spec

OTHER = spec(indexCache={"pattern": "FFFS", "minContextTokens": 0})
LONG = timedelta(hours=1)
WAYS = {(before, after) for before in Phase for after in followers(before) if before is not after}


def variants(seen: Observation) -> Iterator[Observation]:
    """Yield what could have been seen instead, in any phase: other wishes, trouble, more time gone by."""
    for phase, now in product(Phase, (seen.now, seen.now + LONG)):
        other = replace(seen, now=now, status=replace(seen.status, phase=phase))
        yield other
        yield replace(other, deleting=True)
        yield replace(other, spec=None, spec_problem="unreadable")
        yield replace(other, spec=OTHER)
        yield replace(other, annotations={revision.KILL: seen.status.revision})
        yield replace(other, annotations={revision.RETRY: seen.status.revision})
        yield replace(other, route=None)
        late = FallbackStatus(cause="TooLittleTraffic", since=seen.now, revision=seen.status.revision)
        yield replace(other, status=replace(other.status, fallback=late))


@pytest.fixture(scope="module")
def taken() -> set[tuple[Phase, Phase]]:
    """Return all changes of phase of a good and a bad rollout, whatever else is seen whenever one comes."""
    out = set()
    for world, end in ((World(recall=good), Phase.PROMOTED), (World(recall=bad), Phase.FELL_BACK)):
        while world.status.phase is not end:
            before = world.status.phase
            world.wait(lambda w, before=before: w.status.phase is not before, looks=400)  # type: ignore[misc]
            out.add((before, world.status.phase))
            for seen in variants(world.observe()):
                out.add((seen.status.phase, plan(seen, world.memory).status.phase))
    return {(before, after) for before, after in out if before is not after}


def test_no_way_is_taken_that_the_table_does_not_list(taken: set[tuple[Phase, Phase]]) -> None:
    assert taken - WAYS == set()


def test_each_way_that_the_table_lists_is_taken(taken: set[tuple[Phase, Phase]]) -> None:
    assert WAYS - taken == set()


def test_every_phase_can_be_reached() -> None:
    reached = {Phase.PENDING}
    for _ in Phase:
        reached |= {after for phase in reached for after in TABLE[phase].leads_to}
    assert reached == set(Phase)

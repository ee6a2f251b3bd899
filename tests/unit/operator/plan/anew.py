"""Plans of an operator that begins anew, beside those of one that goes on, along a history of the small world
(world.py).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from indexcache_operator.api.status import Phase
from indexcache_operator.model import Observation, Plan
from indexcache_operator.plan import plan
from indexcache_operator.plan.facts.memory import Memory

from tests.unit.operator.plan.world import World

ORDER = (Phase.SHADOWING, Phase.CANARY, Phase.PROMOTING, Phase.PROMOTED)
"""Phases in which a try comes farther."""
BEGINS_ANEW = 50
"""After so many looks the world's own operator does."""


class Look(NamedTuple):
    """Holds what was seen in a look, and what either would do."""

    seen: Observation
    goes_on: Plan[Memory]
    begins: Plan[Memory]

    @property
    def tries(self) -> bool:
        """Return whether both go on with the try."""
        return self.goes_on.status.phase in ORDER and self.begins.status.phase in ORDER


def looks(world: World, count: int) -> Iterator[Look]:
    """Yield so many looks. What is done to the world before the next one is part of the history."""
    for number in range(1, count + 1):
        seen = world.observe()
        # Both write figures, as one that begins anew does.
        kept = replace(world.memory, published_at=None) if world.memory else None
        yield Look(seen, plan(seen, kept), plan(seen, None))
        if number % BEGINS_ANEW == 0:
            world.memory = None
        world.snapshot()

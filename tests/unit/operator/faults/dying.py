"""Kills the operator in the middle of a turn: after a look, or any write to the API server or an engine.

What the process had under way is lost with its memory; the next begins with what is there.
"""

import asyncio
from collections.abc import Set
from typing import Any

from indexcache_core.contract import Desired, State
from indexcache_operator.api.status import Phase
from indexcache_operator.loop import RolloutLoop

from tests.unit.operator.faults.faulty import LOOKS, FaultyApi, loop_over, turn
from tests.unit.operator.faults.simulated import SimulatedEngines
from tests.unit.operator.plan.held import WrongEnd
from tests.unit.operator.plan.world import World

NEXT = 12
"""The most moments from one death to the next, where there are two."""
SETTLING = 20
"""Rounds of the event loop in which what a dead process had under way comes to its end."""


class Died(BaseException):
    """The process is gone: nothing that it would still do is done."""


class DyingApi(FaultyApi):
    """Kills its operator at these moments, numbered from 0: each look's end and each write is one."""

    def __init__(self, world: World, at: Set[int] = frozenset()) -> None:
        super().__init__(world)
        self.at = at
        self.moments = self.deaths = 0
        self.is_dead = False

    async def _call(self, verb: str, real: Any, path: str, *args: Any, **kwargs: Any) -> Any:
        self.lives()
        answer = await super()._call(verb, real, path, *args, **kwargs)
        if verb in ("create", "replace", "patch", "delete") or (verb == "apply" and "dry_run" not in kwargs):
            self.moment()
        return answer

    def looked(self) -> None:
        self.moment()

    def lives(self) -> None:
        """Let a dead process do nothing. Raises Died."""
        if self.is_dead:
            raise Died

    def moment(self) -> None:
        """Note a moment, and end the operator where it is one to die at. Raises Died."""
        self.moments += 1
        if self.moments - 1 in self.at:
            self.is_dead = True
            self.deaths += 1
            raise Died


class DyingEngines(SimulatedEngines):
    """Notes what engines are told as moments to die at."""

    api: DyingApi

    async def put(self, ip: str, desired: Desired, contract: int) -> State:
        self.api.lives()
        state = await super().put(ip, desired, contract)
        self.api.moment()
        return state

    async def kill(self, ip: str, reason: str) -> None:
        self.api.lives()
        await super().kill(ip, reason)
        self.api.moment()


async def relive(api: DyingApi, *ends: Phase) -> RolloutLoop:
    """Run operators, one after the other, until one of these phases, or the rollout is gone. Return the last
    one's loop.
    """
    loop = loop_over(api)
    for _ in range(LOOKS):
        try:
            await turn(loop)
        except BaseExceptionGroup as group:
            if group.split(Died)[0] is None:
                raise
        except Died:
            pass
        if api.is_dead:
            for _ in range(SETTLING):
                await asyncio.sleep(0)
            api.is_dead, loop = False, loop_over(api)
        api.passes()
        if api.world.gone or api.world.status.phase in ends:
            return loop
    raise WrongEnd((api.world.status.phase, api.world.status.message, api.world.phases))

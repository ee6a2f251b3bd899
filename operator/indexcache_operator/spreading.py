"""Spreads looks at rollouts at rest by their number, so that many cost no more than some, and lets only so
many of them be under way at once. What is in motion, and what somebody asks for, waits for nobody.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

LOOKS_A_SECOND = 25.0
"""At all rollouts at rest together, beside those that something happened to."""
AT_ONCE = 32
"""Such looks under way: a call to an engine has a second, and a thousand of them at once would take longer
than that by themselves.
"""


def wait(next_look: timedelta, latest: timedelta, at_rest: int) -> timedelta:
    """Return how long to wait for the next look.

    Args:
        next_look: How soon the plan would look again were there no other rollout.
        latest: How long it can wait at most.
        at_rest: Rollouts that can wait, this one included.
    """
    share = timedelta(seconds=at_rest / LOOKS_A_SECOND)
    return max(next_look, min(latest, share))


class Ticket:
    """Holds one loop's place among those that wait for a turn."""

    def __init__(self) -> None:
        self._waits: asyncio.Future[bool] | None = None
        self.hurried = False
        """Whether its next turn waits for nobody."""

    def hurry(self) -> None:
        """Take the turn at once, whoever else is under way."""
        self.hurried = True
        if self._waits is not None and not self._waits.done():
            self._waits.set_result(False)


class Crowd:
    """Holds which rollouts are at rest, and lets so many of their looks be under way at once."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._free = at_once
        self._queue: deque[asyncio.Future[bool]] = deque()
        self._resting: set[str] = set()

    @property
    def at_rest(self) -> int:
        """Return how many rollouts are at rest."""
        return len(self._resting)

    def rests(self, uid: str, *, rests: bool) -> None:
        """Note whether a rollout is at rest."""
        (self._resting.add if rests else self._resting.discard)(uid)

    @asynccontextmanager
    async def turn(self, ticket: Ticket) -> AsyncIterator[None]:
        """Let a turn be taken in the block: after those that came before, or at once once it is hurried."""
        has_place = await self._place(ticket)
        ticket.hurried = False
        try:
            yield
        finally:
            if has_place:
                self._leave()

    async def _place(self, ticket: Ticket) -> bool:
        """Wait for a place. Return whether it was given one, or goes without."""
        if ticket.hurried:
            return False
        if self._free > 0:
            self._free -= 1
            return True
        waits: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        ticket._waits = waits
        self._queue.append(waits)
        try:
            return await waits
        except asyncio.CancelledError:
            if waits.done() and not waits.cancelled() and waits.result():
                self._leave()  # it came together with the end
            raise
        finally:
            ticket._waits = None

    def _leave(self) -> None:
        """Give a place to whoever has waited longest."""
        while self._queue:
            waits = self._queue.popleft()
            if not waits.done():
                waits.set_result(True)
                return
        self._free += 1

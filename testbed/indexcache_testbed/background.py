"""Tasks that run beside what is told: begun together, ended together, and never waited for without end."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

END_WITHIN = 20.0
"""Seconds in which a cancelled task must have ended: its own clean-up is a process killed or a connection
closed.
"""


@dataclass
class Background:
    """Runs some tasks of one owner."""

    owner: str
    """Who they work for, for people."""
    _tasks: "list[asyncio.Task[None]]" = field(default_factory=list)

    def begin(self, *work: Coroutine[Any, Any, None]) -> None:
        """Start them."""
        self._tasks += [asyncio.create_task(one, name=getattr(one, "__qualname__", None)) for one in work]

    def check(self) -> None:
        """Raise RuntimeError if one of them failed: what it worked for is no longer true."""
        failed = next((t for t in self._tasks if t.done() and not t.cancelled() and t.exception()), None)
        if failed:
            raise RuntimeError(
                f"{self.owner} stopped: {failed.get_name()}: {failed.exception()!r}"
            ) from failed.exception()

    async def end(self, within: float = END_WITHIN) -> None:
        """Cancel all and wait until they have ended. TimeoutError naming those that have not, and where they
        are.
        """
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        _, stuck = await asyncio.wait(tasks, timeout=within) if tasks else (set(), set())
        if stuck:
            raise TimeoutError(
                f"{self.owner}: cancelled, but not ended in {within:.0f} s: "
                f"{'; '.join(sorted(map(_where, stuck)))}"
            )


def _where(task: "asyncio.Task[None]") -> str:
    frames = task.get_stack(limit=1)
    return (
        f"{task.get_name()} at {frames[0].f_code.co_filename}:{frames[0].f_lineno}"
        if frames
        else task.get_name()
    )

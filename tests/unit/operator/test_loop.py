"""Tests how a rollout's loop waits."""

import asyncio
from typing import Any

import pytest
from indexcache_operator.loop import RolloutLoop
from indexcache_operator.plan import plan


def waiting() -> RolloutLoop:
    """Return a loop that looks at nothing."""
    nothing: Any = None
    return RolloutLoop(
        kube=nothing, session=nothing, observer=nothing, planner=plan, namespace="ns", name="r", uid="u"
    )


async def test_an_end_that_comes_together_with_a_wake_is_an_end() -> None:
    loop = waiting()
    task = asyncio.create_task(loop._sleep(60))
    await asyncio.sleep(0)
    loop.wake()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_wake_ends_the_wait_and_so_does_its_time() -> None:
    loop = waiting()
    task = asyncio.create_task(loop._sleep(60))
    await asyncio.sleep(0)
    loop.wake()
    async with asyncio.timeout(5):
        await task
        loop._wake.clear()
        await loop._sleep(0.0)

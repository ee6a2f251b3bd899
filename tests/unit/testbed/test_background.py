"""Waits of the testbed's tools: each ends, and says what it waited for."""

import asyncio
import time

import pytest
from indexcache_testbed.background import Background
from indexcache_testbed.scenario.command import CommandError, run


async def forever() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise ValueError("no pods")


async def test_all_are_ended() -> None:
    background = Background("the load")
    background.begin(forever(), forever())
    tasks = list(background._tasks)
    await background.end()
    assert all(t.cancelled() for t in tasks)
    await background.end()


async def test_one_that_does_not_end_is_named() -> None:
    released = asyncio.Event()

    async def stubborn() -> None:
        try:
            await forever()
        finally:
            await released.wait()

    background = Background("the witness")
    background.begin(stubborn(), forever())
    tasks = list(background._tasks)
    await asyncio.wait(tasks, timeout=0)  # they begin
    with pytest.raises(
        TimeoutError,
        match=r"the witness: cancelled, but not ended in 0 s: .*stubborn at .*test_background.py:\d+$",
    ):
        await background.end(within=0.05)
    released.set()
    await asyncio.wait(tasks)


async def test_one_that_failed_is_told_of() -> None:
    background = Background("the witness")
    background.begin(forever(), fails())
    await asyncio.wait(background._tasks, return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(RuntimeError, match=r"the witness stopped: fails: ValueError\('no pods'\)"):
        background.check()
    await background.end()
    background.check()


async def test_a_command_has_an_end() -> None:
    assert await run("cat", stdin="text") == "text"
    with pytest.raises(CommandError, match=r"ls /nowhere: .*No such file"):
        await run("ls", "/nowhere")
    start = time.monotonic()
    with pytest.raises(CommandError, match="sleep 60: no end in 0 s"):
        await run("sleep", "60", within=0.05)
    assert time.monotonic() - start < 30

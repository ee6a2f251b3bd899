"""A command's caller can be cancelled at any moment, and is told what went wrong."""

import asyncio

import pytest
from indexcache_testbed.scenario.command import CommandError, run


class Ending:
    """A process that ends at the very moment at which its caller is cancelled."""

    returncode = 0

    def __init__(self, caller: "asyncio.Task[None]") -> None:
        self.caller = caller

    async def communicate(self, stdin: bytes) -> tuple[bytes, bytes]:
        self.caller.cancel()
        return b"done", b""


async def test_a_cancellation_is_not_lost_as_the_command_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def follow() -> None:
        while True:
            await run("kubectl", "get", "pods")
            await asyncio.sleep(3600)

    async def start(*command: str, **how: object) -> Ending:
        return Ending(task)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    task = asyncio.create_task(follow())
    ended, _ = await asyncio.wait([task], timeout=10)
    task.cancel()
    assert ended
    assert task.cancelled()


async def test_what_a_command_says_is_told() -> None:
    assert await run("cat", stdin="text") == "text"
    with pytest.raises(CommandError, match=r"sh -c .*: the reason"):
        await run("sh", "-c", "echo the reason >&2; exit 1")


async def test_a_command_that_does_not_end_is_killed() -> None:
    with pytest.raises(CommandError, match="sleep 600: no end in 0 s"):
        await run("sleep", "600", within=0.05)

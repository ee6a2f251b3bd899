"""Tests how a rollout's loop waits, and when it shows that its turns fail."""

import asyncio
from typing import Any

import pytest
from indexcache_operator.act import events, health
from indexcache_operator.kube import Conflict, KubeError
from indexcache_operator.loop import SHOWN_AFTER, RolloutLoop
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


FAILURE, CONFLICT, SUCCESS = KubeError(500, "InternalError", "no"), Conflict(409, "Conflict", "old"), 0.0
BOTH = ExceptionGroup("several", [FAILURE, CONFLICT])
IN_A_ROW = [FAILURE] * SHOWN_AFTER


async def shown_after(
    monkeypatch: pytest.MonkeyPatch, turns: list[Exception | float], written: list[bool | Exception]
) -> list[int]:
    """Return after which turns, the first being 1, a loop wrote the condition, or tried to.

    `written`: what came of each writing; once these are used up, it is written.
    """
    loop, taken, tries = waiting(), list[int](), list[int]()

    async def turn() -> float | None:
        taken.append(len(taken) + 1)
        if len(taken) > len(turns):
            return None
        outcome = turns[len(taken) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def show(*_: Any) -> bool:
        tries.append(taken[-1])
        outcome = written.pop(0) if written else True
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def nothing(*_: Any, **__: Any) -> None: ...

    monkeypatch.setattr(loop, "_turn", turn)
    monkeypatch.setattr(loop, "_sleep", nothing)
    monkeypatch.setattr(loop, "_forget", lambda: None)
    monkeypatch.setattr(events, "emit", nothing)
    monkeypatch.setattr(health, "show", show)
    await loop.run()
    return tries


@pytest.mark.parametrize(
    ("turns", "shown"),
    [
        (IN_A_ROW[1:], []),
        ([*IN_A_ROW, FAILURE, FAILURE], [3]),
        ([FAILURE, FAILURE, CONFLICT, FAILURE], [4]),
        ([FAILURE, CONFLICT, CONFLICT, CONFLICT, FAILURE, CONFLICT], []),
        ([FAILURE, FAILURE, ExceptionGroup("all", [CONFLICT, CONFLICT])], []),
        ([FAILURE, FAILURE, BOTH], [3]),
        ([FAILURE, FAILURE, SUCCESS, FAILURE, FAILURE], []),
        ([*IN_A_ROW, SUCCESS, *IN_A_ROW], [3, 7]),
    ],
)
async def test_failures_in_a_row_are_shown_once_and_conflicts_are_none(
    monkeypatch: pytest.MonkeyPatch, turns: list[Exception | float], shown: list[int]
) -> None:
    assert await shown_after(monkeypatch, turns, []) == shown


@pytest.mark.parametrize("outcome", [False, CONFLICT, FAILURE])
async def test_what_could_not_be_shown_is_shown_at_the_next_failure(
    monkeypatch: pytest.MonkeyPatch, outcome: bool | Exception
) -> None:
    assert await shown_after(monkeypatch, [*IN_A_ROW, FAILURE, FAILURE], [outcome]) == [3, 4]

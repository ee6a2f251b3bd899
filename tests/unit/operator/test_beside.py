"""Work beside other work."""

import asyncio

import pytest
from indexcache_operator.beside import beside


async def test_it_ends_with_the_block() -> None:
    ended = asyncio.Event()

    async def working() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with beside(working()):
        await asyncio.sleep(0)
    assert ended.is_set()


async def test_a_failure_ends_the_block_and_is_raised() -> None:
    async def failing() -> None:
        raise ZeroDivisionError("a fault")

    with pytest.raises(ExceptionGroup) as caught:
        async with beside(failing()):
            await asyncio.wait_for(asyncio.Event().wait(), 60)
    assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]


async def test_a_failure_of_the_block_is_raised_and_ends_the_work() -> None:
    async def working() -> None:
        await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        async with beside(working()):
            raise ZeroDivisionError("a fault")
    assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]

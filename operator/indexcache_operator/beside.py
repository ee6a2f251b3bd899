"""Work that runs beside other work: ends with it, and ends it where it fails."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager


@asynccontextmanager
async def beside(*working: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run these until the block ends. Raises an ExceptionGroup if one of them fails: the block is cancelled
    then.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in working]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()

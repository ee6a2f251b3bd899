"""Readings that fail each by itself."""

import asyncio

import pytest
from indexcache_operator.kube import KubeError
from indexcache_operator.observe.reads import Readings


async def value() -> int:
    return 7


async def failing(error: BaseException) -> int:
    raise error


async def test_what_can_be_read_is_read() -> None:
    reads = Readings()
    assert await reads.maybe("a thing", value(), 0) == 7
    assert reads.failed() == ()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KubeError(403, "Forbidden", "no"), "403 Forbidden: no"),
        (TimeoutError(), "TimeoutError"),
        (KeyError("metadata"), "'metadata'"),
        (RecursionError("deep"), "deep"),
    ],
)
async def test_what_cant_be_read_is_unknown_and_named(error: Exception, words: str) -> None:
    reads = Readings()
    assert await reads.maybe("Service s", failing(error), 5) == 5
    assert await reads.maybe("ConfigMap c", failing(error), 6) == 6
    assert reads.failed() == (f"ConfigMap c: {words}", f"Service s: {words}")


async def test_an_end_is_no_failed_read() -> None:
    with pytest.raises(asyncio.CancelledError):
        await Readings().maybe("a thing", failing(asyncio.CancelledError()), 0)

"""Tests that bytes that are no request leave no line in the log, and that what a handler raises does."""

import asyncio
import logging
from collections.abc import Iterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from indexcache_operator import strangers

from tests.unit.runtime.control.floods import FLOODS


@pytest.fixture(autouse=True)
def ignored() -> Iterator[None]:
    strangers.ignore()
    strangers.ignore()
    server = logging.getLogger(strangers.SERVER)
    assert server.filters.count(strangers.is_told) == 1
    yield
    server.removeFilter(strangers.is_told)


async def fails(request: web.Request) -> web.Response:
    raise ZeroDivisionError("of our own")


async def sent(data: bytes, caplog: pytest.LogCaptureFixture) -> str:
    """Send bytes to a server. Returns what it logged."""
    app = web.Application()
    app.router.add_get("/", fails)
    async with TestServer(app) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(data)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 30)
        writer.close()
    return caplog.text


@pytest.mark.parametrize("kind", ["endless header", "endless lines"])
async def test_what_is_no_request_is_not_logged(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    assert await sent(FLOODS[kind], caplog) == ""


async def test_what_a_handler_raises_is(caplog: pytest.LogCaptureFixture) -> None:
    said = await sent(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", caplog)
    assert "ZeroDivisionError: of our own" in said

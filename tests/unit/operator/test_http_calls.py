"""Calls to servers that answer, answer too much, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from indexcache_operator.http_calls import CHUNK, Answer, Call, CallError, NoAnswer, answer
from yarl import URL

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def call(port: int, **changes: Any) -> Call:
    """Return a call to a server of this machine."""
    values: dict[str, Any] = {
        "method": "GET",
        "host": "127.0.0.1",
        "port": port,
        "path": "/x",
        "headers": {},
        "timeout": aiohttp.ClientTimeout(total=30),
        "max_answer": 3 * CHUNK,
        **changes,
    }
    return Call(**values)


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[tuple[aiohttp.ClientSession, int]]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as started, aiohttp.ClientSession() as session:
        assert started.port is not None
        yield session, started.port


async def test_what_is_sent_arrives_and_any_status_is_an_answer() -> None:
    seen: list[tuple[str, str, str, str | None, str | None]] = []

    async def handler(request: web.Request) -> web.Response:
        headers = request.headers
        seen.append(
            (
                request.method,
                request.path,
                await request.text(),
                headers.get("Content-Type"),
                headers.get("X-A"),
            )
        )
        return web.Response(status=409, text="no")

    async with server(handler) as (session, port):
        assert await answer(
            session, call(port, method="POST", body='{"a": 1}', headers={"X-A": "b"})
        ) == Answer(status=409, body=b"no")
        await answer(session, call(port))
    assert seen == [("POST", "/x", '{"a": 1}', "application/json", "b"), ("GET", "/x", "", None, None)]


@pytest.mark.parametrize("size", [0, 1, CHUNK, 3 * CHUNK])
async def test_an_answer_is_read_whole_up_to_its_bound(size: int) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * size)

    async with server(handler) as (session, port):
        assert (await answer(session, call(port))).body == b"x" * size


async def test_no_more_is_read_than_the_bound() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        """Write without end: who reads on never comes back."""
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * CHUNK)

    async with server(handler) as (session, port):
        with pytest.raises(
            CallError, match=rf"GET 127\.0\.0\.1:{port}/x: an answer of over {3 * CHUNK} bytes"
        ) as caught:
            await answer(session, call(port))
    assert not isinstance(caught.value, NoAnswer)


async def test_silence_is_an_error_that_names_the_call() -> None:
    release = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    async with server(handler) as (session, port):
        with pytest.raises(NoAnswer, match=rf"PUT 127\.0\.0\.1:{port}/x: TimeoutError"):
            await answer(session, call(port, method="PUT", timeout=aiohttp.ClientTimeout(total=0.05)))
        release.set()


async def test_nobody_there_is_an_error() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(NoAnswer, match=r"GET \[::1\]:1/x: "):
            await answer(session, call(1, host="::1"))


@pytest.mark.parametrize(
    ("host", "url"),
    [("10.0.0.1", "http://10.0.0.1:80/x"), ("fd00::1", "http://[fd00::1]:80/x"), ("pod", "http://pod:80/x")],
)
def test_an_address_of_version_6_stands_in_brackets(host: str, url: str) -> None:
    assert call(80, host=host).url == URL(url)
    assert call(80, host=host).url.host == host
    assert str(call(80, host=host)) == f"GET {url.removeprefix('http://')}"


@pytest.mark.parametrize("value", ["Bearer a\nb", "Bearer a\r\nX-Other: b", "Bearer a\0b"])
async def test_a_key_that_no_header_can_hold_is_an_error_of_the_call(value: str) -> None:
    async def handler(request: web.Request) -> web.Response:
        raise AssertionError(f"was sent with {dict(request.headers)}")

    async with server(handler) as (session, port):
        with pytest.raises(CallError, match=r"GET .*/x: "):
            await answer(session, call(port, headers={"Authorization": value}))


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with server(handler) as (session, port):
        assert (await answer(session, call(port))).status == 302

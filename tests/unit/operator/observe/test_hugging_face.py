"""A model's config from a hub."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from indexcache_operator.observe import hugging_face as hubs
from indexcache_operator.observe.hugging_face import HuggingFace


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
async def server(calls: list[str]) -> TestServer:
    async def handler(request: web.Request) -> web.Response:
        calls.append(request.path)
        answers = {
            "/org/m/resolve/main/config.json": '{"model_type": "deepseek_v32"}',
            "/org/list/resolve/main/config.json": "[]",
        }
        return (
            web.Response(text=answers[request.path]) if request.path in answers else web.Response(status=404)
        )

    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    return TestServer(app)


async def test_a_config_is_read_once(server: TestServer, calls: list[str]) -> None:
    async with server, aiohttp.ClientSession() as session:
        hub = HuggingFace(session, str(server.make_url("/")))
        assert await hub.config("org/m") == {"model_type": "deepseek_v32"}
        assert await hub.config("org/m") == {"model_type": "deepseek_v32"}
    assert len(calls) == 1


@pytest.mark.parametrize("model", ["org/none", "org/list"])
async def test_what_cannot_be_read_is_no_answer_and_not_asked_at_once_again(
    server: TestServer, calls: list[str], model: str
) -> None:
    async with server, aiohttp.ClientSession() as session:
        hub = HuggingFace(session, str(server.make_url("/")))
        assert await hub.config(model) is None
        assert await hub.config(model) is None
    assert len(calls) == 1


@pytest.mark.parametrize(
    "model",
    [
        "/models/tiny",
        "a/b/c",
        "../x",
        "x/..",
        "a..b/c",
        "org/m?x",
        "org/m#x",
        "org%2fm/x",
        "org/m\n",
        "é/m",
        "-a/b",
        "a/" + "b" * 97,
        "",
    ],
)
async def test_a_path_is_no_hub_name(server: TestServer, calls: list[str], model: str) -> None:
    async with server, aiohttp.ClientSession() as session:
        assert await HuggingFace(session, str(server.make_url("/"))).config(model) is None
    assert calls == []


async def test_without_an_endpoint_nothing_is_asked() -> None:
    async with aiohttp.ClientSession() as session:
        assert await HuggingFace(session, None).config("org/m") is None


@given(st.text() | st.from_regex(r"[a-zA-Z0-9._/%?#\\-]{1,40}", fullmatch=True))
def test_a_name_never_leads_out_of_its_place_at_the_hub(model: str) -> None:
    if not hubs.is_name(model):
        return
    found = urlsplit(hubs.url("https://hub.example/mirror", model))
    first, *parts = found.path.removeprefix("/mirror/").split("/")
    assert (found.scheme, found.netloc, found.query, found.fragment) == ("https", "hub.example", "", "")
    assert "/".join([first, *parts]) == f"{model}/resolve/main/config.json"
    assert not {"", ".", ".."} & {first, *parts}


async def asked(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> dict[str, object] | None:
    """Return what a hub with this handler is found to say of a model."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        return await HuggingFace(session, str(server.make_url("/"))).config("org/m")


async def test_a_redirect_within_the_hub_is_followed() -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.path.startswith("/api"):
            return web.json_response({"a": 1})
        return web.Response(status=307, headers={"Location": "/api/resolve-cache/org/m/config.json"})

    assert await asked(handler) == {"a": 1}


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1:1/x", "//example.invalid/x", "file:///etc/passwd", "http://[", ""]
)
async def test_a_redirect_elsewhere_is_not_followed(location: str, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": location})

    with caplog.at_level(logging.WARNING):
        assert await asked(handler) is None
    assert "HubError" in caplog.text or "ValueError" in caplog.text


async def never(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(b" ")
        await asyncio.sleep(0.01)


async def endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    try:
        while True:
            await answer.write(b" " * 65536)
    except ConnectionError:
        return answer


async def deep(request: web.Request) -> web.StreamResponse:
    return web.Response(text="[" * 100_000)


@pytest.mark.parametrize(
    ("handler", "named"), [(never, "TimeoutError"), (endless, "TooLarge"), (deep, "HubError")]
)
async def test_an_answer_is_bounded_in_time_size_and_depth_and_its_error_is_named(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    named: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hubs, "TIMEOUT_SECONDS", 0.2 if handler is never else 60.0)
    with caplog.at_level(logging.WARNING):
        assert await asked(handler) is None
    assert named in caplog.text

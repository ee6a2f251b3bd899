"""A model's config from a hub."""

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from indexcache_operator.observe.hub import Hub


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
async def server(calls: list[str]) -> TestServer:
    async def handler(request: web.Request) -> web.Response:
        calls.append(request.path)
        answers = {"/org/m/resolve/main/config.json": '{"model_type": "deepseek_v32"}', "/org/list/resolve/main/config.json": "[]"}
        return web.Response(text=answers[request.path]) if request.path in answers else web.Response(status=404)

    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    return TestServer(app)


async def test_a_config_is_read_once(server: TestServer, calls: list[str]) -> None:
    async with server, aiohttp.ClientSession() as session:
        hub = Hub(session, str(server.make_url("/")))
        assert await hub.config("org/m") == {"model_type": "deepseek_v32"}
        assert await hub.config("org/m") == {"model_type": "deepseek_v32"}
    assert len(calls) == 1


@pytest.mark.parametrize("model", ["org/none", "org/list"])
async def test_what_cannot_be_read_is_no_answer_and_not_asked_at_once_again(server: TestServer, calls: list[str], model: str) -> None:
    async with server, aiohttp.ClientSession() as session:
        hub = Hub(session, str(server.make_url("/")))
        assert await hub.config(model) is None
        assert await hub.config(model) is None
    assert len(calls) == 1


@pytest.mark.parametrize("model", ["/models/tiny", "a/b/c", "../x", "org/m?x", ""])
async def test_a_path_is_no_hub_name(server: TestServer, calls: list[str], model: str) -> None:
    async with server, aiohttp.ClientSession() as session:
        assert await Hub(session, str(server.make_url("/"))).config(model) is None
    assert calls == []


async def test_without_an_endpoint_nothing_is_asked() -> None:
    async with aiohttp.ClientSession() as session:
        assert await Hub(session, None).config("org/m") is None

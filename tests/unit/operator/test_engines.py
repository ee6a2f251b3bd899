"""Calls to control ports that answer, refuse, misbehave, or are silent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from indexcache_core.contract import CONTRACT, Desired, Kill, Refused, State
from indexcache_operator.contracts import Contracts
from indexcache_operator.engines import MAX_ANSWER, EngineError, Engines, Silent
from indexcache_runtime.access import Credentials as PortCredentials
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.server import serve
from indexcache_runtime.engine import Capabilities

from tests.recorded import conversation

TOKEN = "token"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer than an operator would: a busy machine takes its time over 8 MiB."""
    monkeypatch.setattr("indexcache_operator.engines.TIMEOUT_SECONDS", 60.0)


@asynccontextmanager
async def engines(handler: Handler) -> AsyncIterator[Engines]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        assert server.port is not None
        yield Engines(session=session, tokens={"127.0.0.1": TOKEN, "::1": TOKEN}, port=server.port)


async def test_a_state_is_read_and_a_kill_carries_its_reason() -> None:
    seen: list[tuple[str, str, str]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.path, await request.text()))
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        return web.Response(text=State(supported=True, incarnation="i", epoch=4).model_dump_json())

    async with engines(handler) as found:
        assert (await found.state("127.0.0.1")).epoch == 4
        await found.kill("127.0.0.1", "r" * 600)
    assert seen[0][:2] == ("GET", "/v1/state")
    assert seen[1] == ("POST", "/v1/kill", '{"reason":"' + "r" * 512 + '"}')


async def test_a_refusal_is_told_in_the_engines_words() -> None:
    refused = Refused(code="OldEpoch", message="epoch 3 is older than 5", field="epoch")

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=409, text=refused.model_dump_json())

    async with engines(handler) as found:
        with pytest.raises(EngineError, match="409 OldEpoch: epoch 3 is older than 5"):
            await found.state("127.0.0.1")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((r["status"], r["body"]) for r in conversation.said(CONTRACT, "refused").values()),
        (418, {"code": "OfTheNext", "message": "who knows", "more": 1}),
    ],
)
async def test_a_refusal_of_any_contract_is_told(status: int, body: dict[str, Any]) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    async with engines(handler) as found:
        with pytest.raises(EngineError) as caught:
            await found.state("127.0.0.1")
    assert str(caught.value).endswith(f": {status} {body['code']}: {body['message']}")


async def test_an_engine_is_told_flags_in_its_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    later = Contracts(present=2, added={2: ("flags.in_flight",)})
    monkeypatch.setattr("indexcache_operator.engines.SPOKEN", later)
    wanted = Desired.model_validate(conversation.said(1, "put")["on-canary"])
    seen: list[dict[str, Any]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(await request.json())
        return web.Response(text=State(supported=True, incarnation="i", contract=1).model_dump_json())

    async with engines(handler) as found:
        await found.put("127.0.0.1", wanted, 1)
        await found.put("127.0.0.1", wanted, 2)
    assert seen[1] == wanted.model_dump(mode="json")
    assert seen[1]["flags"].pop("in_flight") == "Recompute"
    assert seen[0] == seen[1]


@pytest.mark.parametrize("text", ["", "{}", '{"contract": 7, "mode": "tripped"}'])
async def test_a_kill_is_done_whatever_the_engine_says_of_itself(text: str) -> None:
    """Of whatever contract it is: 200 means that it is at the baseline."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=text)

    async with engines(handler) as found:
        await found.kill("127.0.0.1", "r")


async def test_an_engine_of_a_foreign_contract_can_not_be_asked_and_the_error_says_what_to_do() -> None:
    state = State(supported=True, incarnation="i", contract=CONTRACT + 2)

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=state.model_dump_json())

    async with engines(handler) as found:
        with pytest.raises(EngineError, match=f"contract {CONTRACT + 2}; expected {CONTRACT},.* upgrade"):
            await found.state("127.0.0.1")


@pytest.mark.parametrize(
    ("status", "text", "words"),
    [
        (200, "{}", "outside the contract: contract"),
        (200, '{"contract": 1}', "outside the contract: supported"),
        (200, "<html>", "outside the contract"),
        (502, "bad gateway", "502 with an answer outside the contract"),
        (200, " " * (MAX_ANSWER + 1), "over"),
    ],
)
async def test_what_is_no_state_is_not_believed(status: int, text: str, words: str) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    async with engines(handler) as found:
        with pytest.raises(EngineError, match=words):
            await found.state("127.0.0.1")


async def test_silence_is_an_error_that_names_the_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexcache_operator.engines.TIMEOUT_SECONDS", 0.1)
    release = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    async with engines(handler) as found:
        with pytest.raises(Silent, match=r"GET 127\.0\.0\.1:\d+/v1/state"):
            await found.state("127.0.0.1")
        release.set()


async def test_nobody_there_is_an_error() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(Silent, match=r"\[::1\]:1/v1/state"):
            await Engines(session=session, tokens={"127.0.0.1": TOKEN, "::1": TOKEN}, port=1).state("::1")


STATE = State(supported=True, incarnation="life", epoch=4)
TAG = '"life-abc"'


def answering(status: int, tag: str | None, seen: list[str | None]) -> Handler:
    """Return an engine that answers with this status and tag, whatever it is asked."""

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.get("If-None-Match"))
        headers = {} if tag is None else {"ETag": tag}
        return web.Response(
            status=status, text=STATE.model_dump_json() if status == 200 else None, headers=headers
        )

    return handler


async def test_a_state_comes_with_its_tag_and_is_asked_about_by_it() -> None:
    seen: list[str | None] = []
    async with engines(answering(200, TAG, seen)) as found:
        told = await found.ask("127.0.0.1")
        assert (told.state, told.tag) == (STATE, TAG)
        told = await found.ask("127.0.0.1", TAG)
        assert (told.state, told.tag) == (STATE, TAG)
    assert seen == [None, TAG]


async def test_an_engine_that_is_as_before_says_no_more() -> None:
    async with engines(answering(304, TAG, [])) as found:
        told = await found.ask("127.0.0.1", TAG)
        assert (told.state, told.tag) == (None, TAG)


@pytest.mark.parametrize(
    ("asked", "tag", "words"),
    [
        ("", TAG, "of none"),
        ("", None, "no tag"),
        (TAG, None, "no tag"),
        (TAG, '"life-other"', "life-other"),
        (TAG, '"other-abc"', "other-abc"),
        (TAG, f"W/{TAG}", "W/"),
    ],
)
async def test_an_engine_that_is_as_before_without_being_asked_is_an_error(
    asked: str, tag: str | None, words: str
) -> None:
    async with engines(answering(304, tag, [])) as found:
        with pytest.raises(EngineError, match=f"304.*{words}"):
            await found.ask("127.0.0.1", asked)
        for call in (found.state("127.0.0.1"), found.kill("127.0.0.1", "r")):
            with pytest.raises(EngineError, match="304"):
                await call


@pytest.mark.parametrize("tag", [None, "", '"other-abc"', "life-abc", f'"life-{"x" * 300}"', f"W/{TAG}"])
async def test_a_tag_that_names_no_life_of_this_engine_is_not_asked_about(tag: str | None) -> None:
    """An engine of a release that knows no tags is asked for its whole state each time."""
    async with engines(answering(200, tag, [])) as found:
        told = await found.ask("127.0.0.1")
        assert (told.state, told.tag) == (STATE, "")


async def test_a_real_control_port_and_a_life_after_it() -> None:
    """The runtime's own port, and another engine that takes its address over."""
    lives = [EngineControl(Capabilities("m")) for _ in range(2)]
    before = ""
    async with aiohttp.ClientSession() as session:
        for life in (0, 1):
            server, port = serve(lives[life], PortCredentials(TOKEN), 0)
            try:
                found = Engines(session=session, tokens={"127.0.0.1": TOKEN}, port=port)
                first = await found.ask("127.0.0.1", before)
                assert first.state is not None
                assert first.state.incarnation == lives[life].incarnation
                assert (await found.ask("127.0.0.1", first.tag)).state is None
                lives[life].kill(Kill(reason="x"))
                assert (await found.ask("127.0.0.1", first.tag)).state is not None
                before = (await found.ask("127.0.0.1")).tag
            finally:
                server.stop()

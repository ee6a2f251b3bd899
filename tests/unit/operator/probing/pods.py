"""An HTTP server that answers as vLLM and the control port of one pod do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from indexcache_core.contract import Identity, Mode, State
from indexcache_core.probe_ids import ProbeRun, Side, probe_name, side_of
from indexcache_operator.engines import Engines
from indexcache_operator.probing.completions import Completions

TOKEN, HOST = "secret", "127.0.0.1"


@dataclass
class Pod:
    """Plays a pod. What a side does, or how it fails, is set by a test."""

    states: list[dict[str, Any]] = field(default_factory=lambda: [{}])
    """What its state shows besides, the last one for ever."""
    logprobs: dict[Side | None, Any] = field(default_factory=lambda: {Side.FULL: -0.5, Side.REUSE: -0.75})
    """Of the token "d" on each side; each letter on is 0.1 less likely."""
    fails: dict[Side | None, str] = field(default_factory=dict)
    """How a side fails: an HTTP status, or a word."""
    shares: dict[Side | None, tuple[int, int]] = field(
        default_factory=lambda: {Side.FULL: (10, 0), Side.REUSE: (10, 10)}
    )
    """Rows, and those under reuse, of each request."""
    tells: bool = True
    requests: list[tuple[Side | None, dict[str, Any]]] = field(default_factory=list)
    runs: dict[str, tuple[int, int]] = field(default_factory=dict)

    async def state(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        shown = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if "gone" in shown:
            return web.Response(status=500)
        values: dict[str, Any] = {
            "supported": True,
            "incarnation": "i",
            "mode": Mode.ON,
            "identity": Identity(revision="r1"),
            "probe_runs": tuple(ProbeRun(name=n, rows=r, reused=u) for n, (r, u) in self.runs.items()),
            **shown,
        }
        return web.Response(text=State.model_validate(values).model_dump_json())

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "tiny"}]})

    async def tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response({"tokens": [1, *(ord(word) for word in body["prompt"].split())]})

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        name = probe_name(request.headers["X-Request-Id"], TOKEN)
        assert name is not None
        side = side_of(name)
        self.requests.append((side, body))
        how = self.fails.get(side)
        if how == "silent once":
            del self.fails[side]
        if how is None or how == "silent once" or not how.isdigit():
            before = self.runs.get(name, (0, 0))
            rows, reused = self.shares[side]
            if self.tells:
                self.runs[name] = (before[0] + rows, before[1] + reused)
        if how:
            return await self._fail(request, how)
        entry = {
            f"token_id:{token}": self.logprobs[side] - 0.1 * (token - ord("d"))
            for token in body["logprob_token_ids"]
        }
        return web.json_response(
            {"choices": [{"text": "x", "logprobs": {"top_logprobs": [{"token_id:7": -0.1} | entry]}}]}
        )

    async def _fail(self, request: web.Request, how: str) -> web.StreamResponse:
        if how.startswith("silent"):
            await asyncio.sleep(60)
        if how == "hangs up":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        if how == "cut off":
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b'{"choices": [')
            assert request.transport is not None
            request.transport.close()
            return response
        if how == "empty":
            return web.json_response({"choices": []})
        return web.Response(status=int(how), text="on purpose")


@asynccontextmanager
async def served(pod: Pod) -> AsyncIterator[tuple[Engines, Completions]]:
    """Serve a pod, and yield what its engine and its users' API are asked by."""
    control, users = web.Application(), web.Application()
    control.add_routes([web.get("/v1/state", pod.state)])
    users.add_routes(
        [
            web.get("/v1/models", pod.models),
            web.post("/tokenize", pod.tokenize),
            web.post("/v1/completions", pod.complete),
        ]
    )
    async with AsyncExitStack() as stack:
        ports = []
        for app in (control, users):
            server = await stack.enter_async_context(TestServer(app, host=HOST))
            assert server.port is not None
            ports.append(server.port)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield (
            Engines(session=session, tokens={HOST: TOKEN}, port=ports[0]),
            Completions(session=session, port=ports[1], control_tokens={HOST: TOKEN}),
        )

"""Answers name the engine that gave them, and its mode."""

import os

from indexcache_runtime.vllm.api_server.headers import Headers
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient


async def _answer(request: object) -> PlainTextResponse:
    return PlainTextResponse("7", headers={"x-own": "kept"})


def test_every_answer_carries_pod_and_mode_beside_its_own_headers() -> None:
    modes = iter(("on", "tripped"))
    app = Starlette(routes=[Route("/ask", _answer)])
    app.add_middleware(Headers, mode=lambda: next(modes))
    client = TestClient(app)
    first, second = client.get("/ask"), client.get("/nowhere")
    assert (first.headers["x-indexcache-pod"], first.headers["x-indexcache-state"]) == (
        os.uname().nodename,
        "on",
    )
    assert first.headers["x-own"] == "kept"
    assert (second.status_code, second.headers["x-indexcache-state"]) == (404, "tripped")

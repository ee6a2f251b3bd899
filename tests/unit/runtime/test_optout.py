"""Opting out: what counts as asking, what is refused, and what the server's middleware makes of the
header.
"""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_core.probe_ids import is_probe, probe_request_id
from indexcache_runtime import optout
from indexcache_runtime.vllm.api_server.opting_out import OptOut
from indexcache_runtime.vllm.engine_core.opted_out import opted_out

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("name", "extra", "expected"),
    [
        ("cmpl-1", None, False),
        ("cmpl-1", {}, False),
        ("cmpl-1", {"session_id": "x"}, False),
        ("cmpl-1", {"indexcache": "off"}, True),
        ("cmpl-1", {"indexcache": "maybe"}, True),
        ("chatcmpl-1-icoff-8f3a", None, True),
    ],
)
def test_who_opted_out(name: str, extra: dict[str, Any] | None, expected: bool) -> None:
    request = SimpleNamespace(request_id=name, sampling_params=SimpleNamespace(extra_args=extra))
    assert opted_out(request) is expected
    request.sampling_params = None  # a session's next part may bring others
    assert opted_out(request) is expected


def test_who_has_no_sampling_parameters() -> None:
    assert opted_out(SimpleNamespace(request_id="embd-1", sampling_params=None)) is False


@pytest.mark.parametrize("value", ["maybe", "on", "OFF", "", 0, ["off"]])
def test_a_bad_value_is_named_with_what_was_expected(value: Any) -> None:
    said = optout.problem({"indexcache": value})
    assert said is not None
    assert said.startswith(f"vllm_xargs.indexcache: {value!r}; expected")


def test_good_values() -> None:
    assert [optout.problem(extra) for extra in (None, {}, {"other": 1}, {"indexcache": "off"})] == [None] * 4


class Server:
    """Keeps what an application behind the middleware gets, and what the client gets."""

    def __init__(self) -> None:
        self.got: dict[str, str] | None = None
        self.status, self.body = 0, b""

    def ask(self, headers: dict[str, str], path: str = CHAT, kind: str = "http") -> "Server":
        async def app(scope: Any, receive: Any, send: Any) -> None:
            self.got = {name.decode(): value.decode() for name, value in scope.get("headers", ())}

        async def send(message: Any) -> None:
            self.status = message.get("status", self.status)
            self.body += message.get("body", b"")

        async def receive() -> Any:
            return {}

        scope = {
            "type": kind,
            "path": path,
            "headers": [(n.encode(), v.encode()) for n, v in headers.items()],
        }
        asyncio.run(OptOut(app)(scope, receive, send))
        return self


def test_the_header_marks_the_requests_name() -> None:
    got = Server().ask({"x-indexcache": "off", "x-request-id": "mine"}).got
    assert got is not None
    assert got["x-request-id"] == "mine-icoff"
    assert optout.asked(f"chatcmpl-{got['x-request-id']}-0-ab12", None)


def test_without_a_name_it_gets_one() -> None:
    first, second = (Server().ask({"x-indexcache": " Off "}).got for _ in range(2))
    assert first is not None
    assert second is not None
    assert optout.asked(first["x-request-id"], None)
    assert first["x-request-id"] != second["x-request-id"]


def test_a_probe_stays_one() -> None:
    got = Server().ask({"x-indexcache": "off", "x-request-id": probe_request_id("t", "n1")}).got
    assert got is not None
    assert is_probe("cmpl-" + got["x-request-id"] + "-0-ab12", "t")


def test_who_sends_no_header_is_left_alone() -> None:
    assert Server().ask({"x-request-id": "mine"}).got == {"x-request-id": "mine"}
    assert Server().ask({}, kind="lifespan").got == {}


@pytest.mark.parametrize(
    ("value", "path", "said"),
    [("maybe", CHAT, "'maybe'; expected"), ("off", "/v1/responses", "/v1/responses; put")],
)
def test_what_the_header_cannot_say_is_refused(value: str, path: str, said: str) -> None:
    server = Server().ask({"x-indexcache": value}, path)
    error = json.loads(server.body)["error"]
    assert (server.got, server.status, error["code"], error["param"]) == (None, 400, 400, "x-indexcache")
    assert error["message"].startswith("x-indexcache: ")
    assert said in error["message"]

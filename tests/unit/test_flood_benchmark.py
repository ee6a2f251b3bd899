"""Tests that each flood of strangers is one, and that a control port among them still takes a kill."""

import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from indexcache_core.contract import Mode, Reason, Site
from indexcache_runtime.access import Credentials
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.server import serve
from indexcache_runtime.engine import Capabilities

from benchmarks import flood, flood_strangers, render

KILL = b"POST /v1/kill HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n"


@pytest.fixture
def control() -> EngineControl:
    return EngineControl(Capabilities("m", (Site(index=0, layer=0, domain="tokens", k=64),)))


@pytest.fixture
def port(control: EngineControl) -> Iterator[int]:
    server, number = serve(control, Credentials("t"), 0)
    yield number
    server.stop()


@pytest.mark.parametrize("kind", flood_strangers.KINDS)
def test_a_kill_acts_among_strangers_of_each_kind(kind: str, control: EngineControl, port: int) -> None:
    core = min(os.sched_getaffinity(0))
    with flood.flooding(kind, port, core):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as s:
            began = time.monotonic()
            s.sendall(KILL)
            assert s.recv(100).startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - began < 5.0  # the machine is busy with other tests
        state = control.state()
    assert (state.mode, state.reason) == (Mode.TRIPPED, Reason.KILLED)


def test_a_bomb_is_small_until_it_is_unpacked() -> None:
    bomb = next(flood_strangers.bombs())
    assert len(bomb) < 20_000
    assert b"Content-Encoding: gzip" in bomb


def test_odd_ids_have_all_bytes() -> None:
    requests = flood_strangers.odd_ids()
    assert set(b"".join(next(requests) for _ in range(20))) == set(range(256))


def row(name: str, value: float) -> dict[str, Any]:
    return {"name": name, "value": value, "hardware": "h"}


def test_the_table_has_a_row_for_each_kind() -> None:
    rows = [
        row("steps, garbage", 0.95),
        row("work, garbage", 0.97),
        row("memory, garbage", 1.5),
        row("kill, garbage", 0.25),
    ]
    table = render.flood({"rows": rows, "versions": {"vllm": "1"}, "commit": "c"})
    assert "| garbage | 0.95 | 0.97 | 1.5 | 0.25 |" in table


def test_the_webhooks_table_has_a_row_for_each_kind() -> None:
    rows = [row("kill, garbage", 0.25), row("alive, garbage", 0.01), row("memory, garbage", 1.5)]
    table = render.flood_webhook({"rows": rows, "hardware": "2 cores", "commit": "c"})
    assert "| garbage | 0.25 | 0.01 | 1.5 |" in table

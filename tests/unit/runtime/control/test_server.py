"""The control port over real sockets, among peers that mean harm."""

import contextlib
import errno
import os
import resource
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from indexcache_core.contract import Reason, Site
from indexcache_runtime.access import Credentials
from indexcache_runtime.control import limits
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.pace import Pace
from indexcache_runtime.control.server import Server, serve
from indexcache_runtime.engine import Capabilities

from tests.unit.runtime.control.floods import FLOODS

AUTHORIZATION = {"Authorization": "Bearer t"}
KILL = b"POST /v1/kill HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n"
ACTS_WITHIN_SECONDS = 1.0
"""The promise: a kill acts within this, whatever strangers do."""
FLOOD = """
import os, socket, sys, threading
number, data = int(sys.argv[1]), sys.stdin.buffer.read()
def flood():
    while True:
        try:
            with socket.create_connection(("127.0.0.1", number)) as s:
                while True:
                    s.sendall(data)
        except OSError:
            pass
for _ in range(8):
    threading.Thread(target=flood, daemon=True).start()
print("floods", flush=True)
sys.stdin.close()
threading.Event().wait()
"""


@pytest.fixture
def control() -> EngineControl:
    return EngineControl(Capabilities("m", (Site(index=0, layer=0, domain="tokens", k=64),)))


@pytest.fixture
def number(control: EngineControl) -> Iterator[int]:
    """Yield the port of a server of that engine."""
    server, number = serve(control, Credentials("t"), 0)
    yield number
    server.stop()


def until(what: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it didn't come"
        time.sleep(0.005)


def is_killed(control: EngineControl) -> bool:
    return control.state().reason is Reason.KILLED


def kill_acts(control: EngineControl, number: int, rest: bytes = b"\r\n") -> socket.socket:
    """Post a kill, and see that it acts within the promise. Returns the connection."""
    s = socket.create_connection(("127.0.0.1", number), timeout=30)
    s.sendall(KILL + rest)
    until(lambda: is_killed(control), ACTS_WITHIN_SECONDS)
    return s


def answers(number: int) -> bool:
    return (
        httpx.get(f"http://127.0.0.1:{number}/v1/state", headers=AUTHORIZATION, timeout=30).status_code == 200
    )


def is_closed(s: socket.socket) -> bool:
    """Return whether the other side closed, once all that it sent is read."""
    s.settimeout(30)
    with contextlib.suppress(ConnectionError):
        while s.recv(65536):
            pass
    return True


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_serves_over_a_socket_and_names_a_taken_port(number: int) -> None:
    with pytest.raises(OSError, match=str(number)):
        serve(EngineControl(Capabilities("m")), Credentials("t"), number)
    assert answers(number)
    assert httpx.get(f"http://127.0.0.1:{number}/v1/state").status_code == 401


def test_a_connection_is_kept_for_further_requests(number: int) -> None:
    with socket.create_connection(("127.0.0.1", number), timeout=30) as s:
        for _ in range(3):
            s.sendall(b"GET /v1/state HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n")
            assert s.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_server_that_is_stopped_closes_all(control: EngineControl) -> None:
    server, number = serve(control, Credentials("t"), 0)
    with socket.create_connection(("127.0.0.1", number), timeout=30) as s:
        server.stop()
        assert is_closed(s)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", number), timeout=30)


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\n", KILL[:20]], ids=["silent", "half a head", "half a kill"]
)
def test_a_peer_that_goes_silent_is_closed(number: int, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.1)
    with socket.create_connection(("127.0.0.1", number), timeout=30) as s:
        s.sendall(sent)
        assert is_closed(s)


def test_a_slow_loris_is_closed_while_it_drips(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", number), timeout=30) as s:

        def is_cut_off() -> bool:
            try:
                s.sendall(b"X")
            except ConnectionError:
                return True
            return False

        until(is_cut_off)


def test_a_peer_that_takes_no_answer_is_closed(
    control: EngineControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that the kernel's buffers don't hold is waited for no longer than the bound."""
    monkeypatch.setattr(limits, "ANSWER_SECONDS", 0.2)
    large = control.state().model_copy(update={"message": "x" * 20_000_000})
    monkeypatch.setattr(control, "state", lambda: large)
    server, number = serve(control, Credentials("t"), 0)
    with socket.create_connection(("127.0.0.1", number), timeout=30) as s:
        s.sendall(b"GET /v1/state HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n")
        until(lambda: bool(server._peers))
        until(lambda: not server._peers)
    server.stop()


def test_512_silent_connections_dont_shut_a_kill_out(control: EngineControl, number: int) -> None:
    with contextlib.ExitStack() as stack:
        for i in range(512):
            s = stack.enter_context(socket.create_connection(("127.0.0.1", number), timeout=30))
            with contextlib.suppress(ConnectionError):
                s.sendall((b"", b"POST /v1/kill HTTP/1.1\r\n", b"\xff")[i % 3])
        stack.enter_context(kill_acts(control, number))
        assert answers(number)


def test_a_kill_waits_for_no_more_than_those_that_came_before_it(
    control: EngineControl, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 512 strangers, with the longest pause after each turn."""
    monkeypatch.setattr(Pace, "pause", lambda self, now: limits.PAUSE_SECONDS)
    with contextlib.ExitStack() as stack:
        for _ in range(512):
            stack.enter_context(socket.create_connection(("127.0.0.1", number), timeout=30))
        stack.enter_context(kill_acts(control, number))


@pytest.mark.parametrize("leaves", ["reset", "closed without a word"])
def test_a_kill_does_not_wait_for_strangers_that_have_gone(
    leaves: str, control: EngineControl, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 900 that still stand in the listener's queue, with the longest pause after each turn."""
    monkeypatch.setattr(Pace, "pause", lambda self, now: limits.PAUSE_SECONDS)
    for _ in range(900):
        with socket.create_connection(("127.0.0.1", number), timeout=30) as s:
            if leaves == "reset":
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with kill_acts(control, number):
        pass


def test_a_peer_that_showed_the_token_outlives_strangers(number: int) -> None:
    get = b"GET /v1/state HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n"
    with contextlib.ExitStack() as stack:
        operator = stack.enter_context(socket.create_connection(("127.0.0.1", number), timeout=30))
        operator.sendall(get)
        assert operator.recv(65536).startswith(b"HTTP/1.1 200 ")
        strangers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", number), timeout=30))
            for _ in range(200)
        ]
        assert is_closed(strangers[0])
        operator.sendall(get)
        assert operator.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_fills_nothing_and_keeps_no_kill_out(
    control: EngineControl, number: int, flood: bytes
) -> None:
    before = resident_bytes()
    arguments = [sys.executable, "-c", FLOOD, str(number)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as flooding:
        try:
            assert flooding.stdin is not None
            assert flooding.stdout is not None
            flooding.stdin.write(flood)
            flooding.stdin.close()
            assert flooding.stdout.readline() == b"floods\n"
            for _ in range(20):
                assert answers(number)
            with kill_acts(control, number) as s:
                assert s.recv(100).startswith(b"HTTP/1.1 200 ")
            for _ in range(20):
                assert answers(number)
            assert resident_bytes() - before < 32 * 2**20
        finally:
            flooding.kill()
    assert answers(number)


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 10\r\n\r\n{",
        b"Content-Length: 10000000000\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz",
    ],
    ids=repr,
)
def test_a_kill_acts_while_its_body_is_still_to_come(
    control: EngineControl, number: int, rest: bytes
) -> None:
    kill_acts(control, number, rest).close()
    until(lambda: "could not be read" in control.state().message)
    assert answers(number)


def test_a_huge_body_of_a_kill_is_sent_to_its_end_and_answered(control: EngineControl, number: int) -> None:
    answer = httpx.post(
        f"http://127.0.0.1:{number}/v1/kill", headers=AUTHORIZATION, content=b" " * 10_000_000, timeout=30
    )
    assert (answer.status_code, answer.json()["reason"]) == (200, "Killed")


def test_a_call_that_fails_closes_its_connection_and_no_other(
    control: EngineControl, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(known: str = "") -> None:
        raise RuntimeError("on purpose")

    with monkeypatch.context() as m:
        m.setattr(control, "state", broken)
        m.setattr(control, "told", broken)
        with pytest.raises(httpx.RemoteProtocolError):
            answers(number)
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(f"http://127.0.0.1:{number}/v1/kill", headers=AUTHORIZATION)
    assert is_killed(control)
    assert answers(number)


def test_a_turn_that_fails_is_not_the_last(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()
    turn = Server._turn

    def once(self: Server) -> None:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("on purpose")
        turn(self)

    monkeypatch.setattr(Server, "_turn", once)
    assert answers(number)  # ends the turn that was waiting
    until(failed.is_set)
    assert answers(number)


def test_a_process_without_files_left_makes_room(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[socket.socket] = []
    accept = socket.socket.accept

    def full(self: socket.socket) -> tuple[socket.socket, object]:
        if len(refused) < 2:
            refused.append(self)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return accept(self)

    with socket.create_connection(("127.0.0.1", number), timeout=30) as stranger:
        stranger.sendall(b"GET")
        assert answers(number)
        monkeypatch.setattr(socket.socket, "accept", full)
        assert answers(number)
        assert len(refused) == 2
        assert is_closed(stranger)

"""Tests one connection's conversation, played without sockets or clocks."""

import json
import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indexcache_core.contract import MAX_BODY, Mode, Reason, Site
from indexcache_runtime.access import Credentials
from indexcache_runtime.control import limits
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.peer import Peer, Stage
from indexcache_runtime.control.routes import Routes
from indexcache_runtime.engine import Capabilities

TOKEN = b"Authorization: Bearer t\r\n"
GET = b"GET /v1/state HTTP/1.1\r\nHost: x\r\n" + TOKEN + b"\r\n"
KILL = b"POST /v1/kill HTTP/1.1\r\nHost: x\r\n" + TOKEN
SITES = (Site(index=0, layer=0, domain="tokens", k=64),)


class World:
    """Holds one peer of one engine, and what came out."""

    def __init__(self) -> None:
        self.control = EngineControl(Capabilities("m", SITES), clock=lambda: 0.0)
        self.peer = Peer(Routes(self.control, Credentials("t")), 0.0)
        self.came = b""

    def send(self, *parts: bytes, now: float = 0.0) -> None:
        """Send parts, take what is answered."""
        for part in parts:
            if self.peer.wants_bytes:
                self.peer.received(part, now)
            self.take(now)

    def take(self, now: float = 0.0) -> None:
        """Take what is to be sent."""
        while self.peer.outgoing:
            self.came += self.peer.outgoing[:1000]
            self.peer.sent(min(1000, len(self.peer.outgoing)), now)

    @property
    def statuses(self) -> list[int]:
        """Return the statuses that were answered; an answer may quote what came, in JSON, so on one line."""
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) [A-Za-z ]*\r\n", self.came)]

    @property
    def is_killed(self) -> bool:
        """Return whether a kill acted."""
        return self.control.state().reason is Reason.KILLED


@pytest.fixture
def world() -> World:
    return World()


def test_a_connection_is_kept_and_its_requests_are_answered_in_order(world: World) -> None:
    world.send(GET + GET, GET)
    assert (world.statuses, world.peer.stage, world.peer.is_idle) == ([200] * 3, Stage.HEAD, True)
    world.send(b"")
    assert world.peer.stage is Stage.ENDED


def test_nothing_is_read_while_an_answer_waits(world: World) -> None:
    world.peer.received(GET + GET, 0.0)
    assert (world.peer.stage, world.peer.wants_bytes) == (Stage.ANSWER, False)
    assert world.peer.outgoing.count(b"HTTP/1.1 200") == 1


def test_a_byte_at_a_time_is_read_too(world: World) -> None:
    world.send(*(bytes([b]) for b in GET))
    assert world.statuses == [200]


@pytest.mark.parametrize(
    "name",
    [b"", b"Authorization: \xff\xfe\r\n", b"Authorization:\r\n", b"Authorization: Bearer \xc3\xa9\r\n"],
)
def test_a_stranger_hears_401_and_is_dropped(world: World, name: bytes) -> None:
    world.send(b"GET /v1/state HTTP/1.1\r\nHost: x\r\n" + name + b"\r\n" + GET)
    assert (world.statuses, world.peer.stage, world.peer.was_admitted) == ([401], Stage.DRAIN, False)
    world.send(*[b"x" * 4096] * 16)
    world.send(b"x" * 4096)
    assert world.peer.stage is Stage.ENDED


@pytest.mark.parametrize(
    "endless",
    [b"X: " + b"y" * 100_000, b"X: y\r\n" * 20_000, b"\r\n" * 20_000, b"y" * 100_000],
    ids=["header", "lines", "empty", "line"],
)
def test_an_endless_head_is_cut_off(world: World, endless: bytes) -> None:
    first = b"" if endless.startswith((b"\r", b"y")) else b"GET / HTTP/1.1\r\n"
    sent = first + endless
    world.send(*(sent[i : i + 4096] for i in range(0, 20 * 1024, 4096)))
    assert world.statuses in ([400], [431])
    assert world.peer.stage in (Stage.DRAIN, Stage.ENDED)


def test_no_byte_puts_a_deadline_off(world: World) -> None:
    for second in range(3):
        world.send(b"X", now=float(second))
        assert world.peer.deadline == limits.HEAD_SECONDS
    world.peer.late(3.0)
    assert world.peer.stage is Stage.ENDED


def test_between_requests_a_peer_has_longer_but_not_for_a_head(world: World) -> None:
    world.send(GET, now=1.0)
    assert world.peer.deadline == 1.0 + limits.KEPT_SECONDS
    world.send(b"G", now=5.0)
    world.send(b"E", now=6.0)
    assert world.peer.deadline == 5.0 + limits.HEAD_SECONDS


def test_a_slow_body_is_refused(world: World) -> None:
    world.send(b"PUT /v1/flags HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n" + TOKEN + b"\r\n{", now=1.0)
    assert (world.peer.stage, world.peer.deadline) == (Stage.BODY, 1.0 + limits.BODY_SECONDS)
    world.peer.late(4.0)
    world.take(4.0)
    assert (world.statuses, world.peer.stage) == ([408], Stage.DRAIN)


def test_an_answer_that_isnt_taken_ends_the_connection(world: World) -> None:
    world.peer.received(GET, 1.0)
    assert world.peer.deadline == 1.0 + limits.ANSWER_SECONDS
    world.peer.late(6.0)
    assert world.peer.stage is Stage.ENDED


REST = {
    "nothing": b"",
    "half a header": b"X: ",
    "headers without end": b"X: y\r\n" * 20_000,
    "a header without end": b"X: " + b"y" * 100_000,
    "no header": b"\0\xff\r\n\r\n",
    "a cut body": b"Content-Length: 10\r\n\r\n{",
    "a huge body": b"Content-Length: 10000000000\r\n\r\n" + b" " * 100_000,
    "a length that is none": b"Content-Length: x\r\n\r\n",
    "two lengths": b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a length of many digits": b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "chunks that are none": b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "cut chunks": b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    "huge chunks": b"Transfer-Encoding: chunked\r\n\r\n"
    + b"1000\r\n"
    + b" " * 4096
    + b"\r\n"
    + (b"1000\r\n" + b" " * 4096 + b"\r\n") * 20,
    "an unknown encoding": b"Transfer-Encoding: gzip\r\n\r\n",
    "no JSON": b"Content-Length: 1\r\n\r\n{",
    "no text": b"Content-Length: 2\r\n\r\n\xff\xfe",
}


@pytest.mark.parametrize("rest", REST.values(), ids=REST.keys())
@pytest.mark.parametrize("end", ["closed", "slow", "answered"])
def test_a_kill_acts_whatever_follows_the_token(world: World, rest: bytes, end: str) -> None:
    world.send(KILL)
    assert world.is_killed
    world.send(*(rest[i : i + 4096] for i in range(0, len(rest), 4096)))
    if end == "closed":
        world.send(b"")
    elif end == "slow" and world.peer.stage in (Stage.HEAD, Stage.BODY):
        world.peer.late(100.0)
        world.take()
    assert world.is_killed
    assert (world.statuses or [200]) == [200]
    if end != "answered":
        assert world.statuses == [200]
        assert "could not be read" in world.control.state().message


def test_a_kill_in_one_piece_has_its_reason(world: World) -> None:
    body = json.dumps({"reason": "alert"}).encode()
    world.send(KILL + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert (world.statuses, world.control.state().message, world.peer.stage) == ([200], "alert", Stage.HEAD)


def test_a_strangers_kill_doesnt_act(world: World) -> None:
    world.send(b"POST /v1/kill HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nContent-Length: 99\r\n\r\n{")
    assert (world.statuses, world.control.state().mode) == ([401], Mode.OFF)


def test_each_kill_of_a_connection_acts_once(world: World) -> None:
    numbers = []
    for _ in range(3):
        world.send(KILL, b"\r\n")
        numbers.append(world.control.kill_now())
    assert numbers == [2, 4, 6]


def test_a_body_of_chunks_is_read_up_to_its_bound(world: World) -> None:
    put = b"PUT /v1/flags HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + TOKEN + b"\r\n"
    world.send(put + b"2\r\n[]\r\n0\r\n\r\n")
    assert world.statuses == [422]
    other = World()
    other.send(put, *[b"400\r\n" + b" " * 1024 + b"\r\n"] * (MAX_BODY // 1024 + 1))
    assert other.statuses == [413]


PIECES = st.one_of(
    st.binary(max_size=64),
    st.sampled_from(
        [
            GET,
            KILL,
            TOKEN,
            b"\r\n",
            b"\r\n\r\n",
            b"Content-Length: 5\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"5\r\nabcde\r\n",
        ]
    ),
    st.sampled_from(
        [
            b"PUT /v1/flags HTTP/1.1\r\n",
            b"HTTP/1.1",
            b"Expect: 100-continue\r\n",
            b"Upgrade: x\r\n",
            b"CONNECT x HTTP/1.1\r\n",
        ]
    ),
    st.binary(min_size=1, max_size=8).map(lambda b: b * 1000),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=20), st.sampled_from([b"", TOKEN]))
def test_no_bytes_break_it_or_fill_it(pieces: Sequence[bytes], token: bytes) -> None:
    world = World()
    for number, piece in enumerate((b"GET /v1/state HTTP/1.1\r\n", token, *pieces) if token else pieces):
        for start in range(0, len(piece), limits.READ_BYTES):
            world.send(piece[start : start + limits.READ_BYTES], now=number * 0.01)
        kept = len(world.peer._head) + len(world.peer._body) + len(world.peer._http.trailing_data[0])
        assert kept <= MAX_BODY + 2 * (limits.HEAD_BYTES + limits.READ_BYTES)
    world.send(b"")
    while world.peer.stage is not Stage.ENDED:
        world.peer.late(world.peer.deadline)
        world.take()
    assert set(world.statuses) <= {100, 200, 400, 401, 404, 408, 413, 422, 431, 501}


def test_after_an_answer_without_a_body_the_connection_goes_on(world: World) -> None:
    world.send(GET)
    (tag,) = re.findall(rb'etag: ("[^"]+")', world.came)
    known = GET.replace(b"\r\n\r\n", b"\r\nIf-None-Match: " + tag + b"\r\n\r\n")
    world.send(known, known + GET)
    assert world.statuses == [200, 304, 304, 200]
    assert (world.peer.stage, world.peer.is_idle) == (Stage.HEAD, True)
    told = [answer for answer in world.came.split(b"HTTP/1.1 ") if answer.startswith(b"304")]
    assert all(answer.endswith(b"\r\n\r\n") and b"content-length" not in answer for answer in told)

"""Floods a port with bytes of strangers, who know no token, from one core: what benchmarks/flood.py runs.

python -m benchmarks.flood_strangers KIND PORT CORE
"""

import contextlib
import gzip
import itertools
import os
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator

from tests.unit.runtime.control.floods import FLOODS

AT_ONCE = 8
"""Connections of a kind that sends all it can."""
SILENT, DRIPPING = 512, 64
DRIP_SECONDS = 0.1
BOMB = gzip.compress(bytes(10_000_000), 9)
HEAD = b"POST /v1/kill HTTP/1.1\r\nHost: x\r\n"
CONNECT_SECONDS = 5.0

Talk = Callable[[socket.socket], None]


def sending(data: bytes) -> Talk:
    """Return what sends the same again and again, and reads no answer."""

    def talk(s: socket.socket) -> None:
        while True:
            s.sendall(data)

    return talk


def wait(s: socket.socket) -> None:
    """Wait until the other side closes."""
    s.settimeout(None)
    while s.recv(65536):
        pass


def drip(s: socket.socket) -> None:
    """Send a head byte by byte, without an end."""
    for byte in itertools.cycle(HEAD):
        s.sendall(bytes([byte]))
        time.sleep(DRIP_SECONDS)


def close_half(s: socket.socket) -> None:
    """Send half a head, say that no more will come, and wait."""
    s.sendall(HEAD[:20])
    s.shutdown(socket.SHUT_WR)
    wait(s)


def reset(s: socket.socket) -> None:
    """Send half a head, and break the connection off."""
    s.sendall(HEAD[:20])
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def asking(requests: Iterator[bytes]) -> Talk:
    """Return what sends one request a connection, and waits for its end."""

    def talk(s: socket.socket) -> None:
        s.sendall(next(requests))
        wait(s)

    return talk


def request(headers: bytes, body: bytes = b"", line: bytes = b"POST /v1/kill HTTP/1.1") -> bytes:
    """Return a request of these headers."""
    length = b"Content-Length: %d\r\n" % len(body)
    return line + b"\r\nHost: x\r\n" + headers + b"\r\n" + length + b"\r\n" + body


def bombs() -> Iterator[bytes]:
    """Yield requests whose small body says that it is 10 MB once unpacked."""
    return itertools.repeat(request(b"Content-Encoding: gzip", BOMB))


def odd_ids() -> Iterator[bytes]:
    """Yield requests with ids of any bytes."""
    rng = random.Random(0)
    while True:
        yield request(b"X-Request-Id: " + rng.randbytes(rng.randint(0, 4000)), line=b"GET /v1/state HTTP/1.1")


def wrong_tokens() -> Iterator[bytes]:
    """Yield kills with tokens that are guessed."""
    rng = random.Random(0)
    while True:
        yield request(b"Authorization: Bearer " + rng.randbytes(16).hex().encode(), b"{}")


KINDS: dict[str, tuple[int, Callable[[], Talk]]] = {
    **{name: (AT_ONCE, lambda data=data: sending(data)) for name, data in FLOODS.items()},  # type: ignore[misc]
    "silent connections": (SILENT, lambda: wait),
    "slow drip": (DRIPPING, lambda: drip),
    "half-closed": (DRIPPING, lambda: close_half),
    "connections reset": (AT_ONCE, lambda: reset),
    "gzip bombs": (AT_ONCE, lambda: asking(bombs())),
    "ids of any bytes": (AT_ONCE, lambda: asking(odd_ids())),
    "guessed tokens": (AT_ONCE, lambda: asking(wrong_tokens())),
}
"""By name: how many connections at once, and what each does; a connection that is closed is opened again."""


def connect_again_and_again(port: int, talk: Talk) -> None:
    """Connect, talk, and connect again whenever that ends."""
    while True:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), timeout=CONNECT_SECONDS) as s,
        ):
            talk(s)


def main() -> None:
    """Run until killed, or until whoever started this is gone."""
    kind, port, core = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    os.sched_setaffinity(0, {core})
    at_once, make = KINDS[kind]
    threading.stack_size(256 * 1024)
    for _ in range(at_once):
        threading.Thread(target=connect_again_and_again, args=(port, make()), daemon=True).start()
    print("floods", flush=True)
    sys.stdin.read()  # ends with whoever started this


if __name__ == "__main__":
    main()

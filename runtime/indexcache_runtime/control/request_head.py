"""Tells what can be told from a request's head before it is whole. Pure.

A kill needs no more than its request line and the token. Both are looked for in the bytes as they come, so
that a kill acts even if what follows them is slow, cut, too large or no HTTP.
"""

import re

_END = re.compile(rb"\n\r?\n")
_KILL = re.compile(rb"(?:\r?\n)*POST /v1/kill(?:\?[^ \r\n]*)? +HTTP/1\.[0-9]\r?\n")
_AUTHORIZATION = re.compile(rb"^authorization:[ \t]*([^\r\n]*?)[ \t]*\r?\n", re.IGNORECASE | re.MULTILINE)


def lines(head: bytes | bytearray) -> int:
    """Return how many lines of a head are there. `head`: the bytes from the request's first on."""
    return head.count(b"\n", 0, _length(head))


def is_whole(head: bytes | bytearray) -> bool:
    """Return whether the empty line that ends a head is there."""
    return _END.search(head) is not None


def kill_authorization(head: bytes | bytearray) -> bytes | None:
    """Return the value of a kill's Authorization header. None if this is no kill, or that line isn't
    whole."""
    start = _KILL.match(head)
    found = _AUTHORIZATION.search(head, start.end(), _length(head)) if start else None
    return found[1] if found else None


def _length(head: bytes | bytearray) -> int:
    """Return where a head ends, its empty line left out; all that is there, if it isn't whole."""
    end = _END.search(head)
    return end.start() + 1 if end else len(head)

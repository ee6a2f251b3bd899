"""Tests what is told from a request's head before it is whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexcache_runtime.control.request_head import is_whole, kill_authorization, lines

LINE = b"POST /v1/kill HTTP/1.1\r\n"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (LINE + b"Authorization: Bearer t\r\n", b"Bearer t"),
        (LINE + b"Host: x\r\nAUTHORIZATION:\tBearer t \r\nX: y", b"Bearer t"),
        (b"\r\n" + LINE + b"authorization:Bearer t\n", b"Bearer t"),
        (b"POST /v1/kill?why=1 HTTP/1.0\nauthorization: \xff\n", b"\xff"),
        (LINE + b"Authorization: Bearer t", None),
        (LINE + b"Authorization: Bearer t\r", None),
        (LINE + b"X-Authorization: Bearer t\r\n", None),
        (LINE + b"Host: x\r\n\r\nAuthorization: Bearer t\r\n", None),
        (b"POST /v1/killer HTTP/1.1\r\nAuthorization: Bearer t\r\n", None),
        (b"GET /v1/kill HTTP/1.1\r\nAuthorization: Bearer t\r\n", None),
        (b"X" + LINE + b"Authorization: Bearer t\r\n", None),
        (LINE, None),
        (b"", None),
    ],
)
def test_a_kill_needs_its_line_and_the_tokens(head: bytes, expected: bytes | None) -> None:
    assert kill_authorization(head) == expected


@given(st.binary(max_size=200), st.integers(0, 240))
def test_what_follows_the_two_lines_doesnt_matter(rest: bytes, end: int) -> None:
    two = LINE + b"authorization: Bearer t\r\n"
    head = (two + rest)[:end]
    assert kill_authorization(head) == (b"Bearer t" if end >= len(two) else None)


def test_lines_end_with_the_head() -> None:
    assert (lines(b"a\r\nb"), lines(b"a\r\nb\r\n\r\n{\n\n}"), lines(b"a\nb\n\nc\n")) == (1, 2, 2)
    assert (is_whole(b"a\r\nb\r\n"), is_whole(b"a\r\n\r\n"), is_whole(b"a\n\n")) == (False, True, True)

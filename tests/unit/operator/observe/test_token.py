"""The token out of its Secret."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexcache_operator.observe import token


def secret(value: bytes) -> dict[str, Any]:
    return {"data": {"token": base64.b64encode(value).decode()}}


@pytest.mark.parametrize("value", [b"abc", b"abc\n", b" abc\r\n"])
def test_a_token_is_read_without_what_surrounds_it(value: bytes) -> None:
    assert token.read(secret(value)) == "abc"


@pytest.mark.parametrize(
    "found",
    [
        None,
        {},
        {"data": None},
        {"data": {}},
        {"data": {"token": ""}},
        {"data": {"token": "%"}},
        {"data": {"token": 7}},
    ],
)
def test_no_token_is_none(found: Any) -> None:
    assert token.read(found) is None


@given(st.binary())
def test_whatever_stands_there_what_is_read_fits_into_a_header(value: bytes) -> None:
    found = token.read(secret(value))
    assert found is None or (found.isascii() and found.isprintable() and found == found.strip() != "")

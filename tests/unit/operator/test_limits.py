"""Tests what an answer may hold."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexcache_core.contract import State
from indexcache_operator.limits import DEPTH, INTEGER, ITEMS, TEXT, TooMuch, check, parse


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value", [INTEGER, -INTEGER, 1.5, "x" * TEXT, [0] * ITEMS, {"x" * TEXT: None}, nested(DEPTH), True, None]
)
def test_at_its_bounds_an_answer_is_taken(value: Any) -> None:
    assert parse(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (str(INTEGER + 1), "the answer: a number beyond"),
        ('{"epoch": ' + "9" * 400 + "}", "epoch: a number beyond"),
        ('{"epoch": ' + "9" * 9000 + "}", "no JSON"),
        ("1e999", "a number beyond"),
        ("NaN", "a number beyond"),
        ('{"a": {"b": [0, -Infinity]}}', "a.b.1: a number beyond"),
        (json.dumps("x" * (TEXT + 1)), "a text of 8193 characters"),
        (json.dumps({"x" * (TEXT + 1): 1}), "a field's name of 8193 characters"),
        (json.dumps([0] * (ITEMS + 1)), "200001 items"),
        (json.dumps(nested(DEPTH + 1)), "nested over 16 deep"),
        ("[" * 100_000, "no JSON"),
        ("{", "no JSON"),
        ("", "no JSON"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "no JSON"),
    ],
)
def test_beyond_them_it_is_refused_by_place(raw: str, said: str) -> None:
    with pytest.raises(TooMuch) as caught:
        parse(raw.encode("latin-1"))
    assert said in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_json_within_bounds_or_refused(raw: bytes) -> None:
    try:
        check(parse(raw))
    except TooMuch:
        return


def test_the_state_of_a_large_model_is_within_them() -> None:
    check(json.loads(State(supported=True, incarnation="i").model_dump_json()))

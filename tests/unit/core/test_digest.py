"""Names of JSON values."""

import hashlib

import pytest
from indexcache_core import digest


def test_a_value_is_named_by_the_hash_of_its_json() -> None:
    assert digest.digest(["FS", 8], 16) == hashlib.sha256(b'["FS", 8]').hexdigest()[:16]


@pytest.mark.parametrize("length", [8, 10, 16, 64])
def test_a_name_has_the_length_that_was_asked_for(length: int) -> None:
    assert len(digest.digest({}, length)) == length


def test_the_order_of_keys_is_no_part_of_the_name_and_that_of_items_is() -> None:
    assert digest.digest({"a": 1, "b": {"c": 2, "d": 3}}, 16) == digest.digest(
        {"b": {"d": 3, "c": 2}, "a": 1}, 16
    )
    assert digest.digest([1, 2], 16) != digest.digest([2, 1], 16)
    assert digest.digest({"a": 1}, 16) != digest.digest({"a": "1"}, 16)


def test_what_json_cannot_hold_is_an_error() -> None:
    with pytest.raises(TypeError):
        digest.digest({"a": object()}, 16)

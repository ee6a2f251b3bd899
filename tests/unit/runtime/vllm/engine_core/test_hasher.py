"""Tests the hasher that stands in for vLLM's, by itself."""

import hashlib
from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_runtime.vllm.engine_core import hasher
from indexcache_runtime.vllm.engine_core.hasher import Hasher, Taint, salted, vllms_own, wrap_where_made

OLD, NEW = [b"one", b"two"], [b"three", b"four"]
"""The baseline's names of the blocks that a request has, and of those that it has filled since."""


def names(request: Any) -> list[bytes]:
    """Name the new blocks of a request, as vLLM does: those beyond the names that it has."""
    return [*OLD, *NEW][len(request.block_hashes) :]


def request(taint: Taint | None = None, blocks: list[bytes] | None = None) -> SimpleNamespace:
    """Return a request with two names, and what it knows of them."""
    found = SimpleNamespace(block_hashes=list(OLD if blocks is None else blocks))
    if taint is not None:
        setattr(found, hasher.ATTRIBUTE, taint)
    return found


def tainted(base: list[bytes]) -> Taint:
    """Return what a request knows of its blocks that is under the class x."""
    return Taint(name="x", last="x", base=list(base), first=0)


def test_a_request_without_a_class_is_named_as_vllm_names_it() -> None:
    assert Hasher(names)(request()) == NEW


@pytest.mark.parametrize("base", [OLD, [*OLD, b"cut away by vLLM"]])
def test_a_request_with_a_class_is_named_by_the_baselines_names_under_it(base: list[bytes]) -> None:
    """The names that it has are of the class; vLLM's hasher sees the baseline's instead, and only then."""
    seen: list[list[bytes]] = []

    def original(asked: Any) -> list[bytes]:
        seen.append(list(asked.block_hashes))
        return names(asked)

    taint = tainted(base)
    found = request(taint, [salted("x", block) for block in OLD])
    had = found.block_hashes

    assert Hasher(original)(found) == [salted("x", block) for block in NEW]
    assert seen == [OLD]
    assert taint.base == [*OLD, *NEW]
    assert found.block_hashes is had
    assert had == [salted("x", block) for block in OLD]


def test_what_vllms_hasher_raises_is_raised_and_the_request_keeps_its_names() -> None:
    def failing(asked: Any) -> list[bytes]:
        raise RuntimeError("no memory")

    found = request(tainted(OLD), [b"a", b"b"])
    told: list[str] = []
    with pytest.raises(RuntimeError):
        Hasher(failing, lambda doing, error: told.append(doing))(found)
    assert (found.block_hashes, told) == ([b"a", b"b"], [])


def test_blocks_that_cannot_be_named_under_a_class_get_names_that_nobody_asks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(name: str, block: bytes) -> bytes:
        raise ValueError("no such class")

    monkeypatch.setattr(hasher, "salted", failing)
    told: list[tuple[str, str]] = []
    named = Hasher(names, lambda doing, error: told.append((doing, str(error))))(request(tainted(OLD)))
    assert {len(block) for block in named} == {32}
    assert len({*named, *NEW}) == 4
    assert told == [("naming blocks", "no such class")]
    with pytest.raises(ValueError, match="no such class"):
        Hasher(names)(request(tainted(OLD)))


def test_vllm_makes_hashers_of_ours_with_what_it_gives_its_own() -> None:
    def make(block_size: int, function: str = "") -> Any:
        """Make a hasher."""
        return lambda asked: [block_size, function]

    module = SimpleNamespace(get_request_block_hasher=make)
    wrap_where_made(module)
    made = module.get_request_block_hasher(16, function="sha256")
    assert isinstance(made, Hasher)
    assert (made(request()), made.failed) == ([16, "sha256"], None)
    assert module.get_request_block_hasher.__doc__ == "Make a hasher."


def test_vllms_own_is_what_ours_stands_in_for() -> None:
    assert vllms_own(Hasher(names)) is vllms_own(names) is names
    assert vllms_own(None) is None


def test_a_vllm_that_makes_no_hasher_is_left_alone() -> None:
    module = SimpleNamespace()
    wrap_where_made(module)
    assert not vars(module)


def test_a_name_under_a_class_is_as_long_as_vllms_own_and_another_for_each_class_and_block() -> None:
    block, other = OLD
    assert len({salted("x", block), salted("y", block), salted("x", other), block}) == 4
    assert {len(salted(name, block)) for name in ("", "x", "x>off")} == {32}
    assert salted("x", block) == hashlib.sha256(b"indexcache\0x\0" + block).digest()

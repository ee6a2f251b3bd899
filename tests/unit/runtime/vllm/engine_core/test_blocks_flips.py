"""Tests what a flip does to the names of requests in flight."""

import pytest

from tests.unit.runtime.vllm.engine_core.blocks_world import PROMPT, FakeRequest, World, baseline, salts


def test_the_block_across_a_flip_belongs_to_nobody_else() -> None:
    w = World()
    w.behaviour = "x"
    r = w.add(PROMPT)
    w.step(r, 10)
    w.behaviour = None
    assert w.blocks.enter(None) == 1
    w.step(r, 12)
    w.behaviour = "x"
    again = w.add(PROMPT)
    w.step(again, 1)
    assert again.num_computed_tokens == 8 + 1


def test_a_preempted_request_starts_clean() -> None:
    w = World()
    w.behaviour = "x"
    r = w.add(PROMPT)
    w.step(r, 10)
    w.preempt(r)
    w.behaviour = None
    w.step(r, 22)
    assert r.under == [frozenset({None})] * 22
    clean = w.add(PROMPT)
    assert clean.block_hashes == r.block_hashes


def test_entering_the_same_behaviour_again_changes_nothing() -> None:
    w = World()
    w.behaviour = "x"
    r = w.add(PROMPT)
    w.step(r, 10)
    before = list(r.block_hashes)
    assert w.blocks.enter("x") == 0
    assert r.block_hashes == before


def test_a_flip_renames_what_is_not_computed_and_counts_who_was_renamed() -> None:
    w = World()
    r, fresh, other = w.add(PROMPT), w.add(PROMPT), w.add([9] * 22)
    w.step(r, 10)
    w.step(other, 8)
    assert w.blocks.enter("x") == 2
    assert r.block_hashes == salts("x", PROMPT, 2)
    assert other.block_hashes == salts("x", [9] * 22, 2)
    assert fresh.block_hashes == baseline(PROMPT)
    assert w.blocks.enter(None) == 2
    assert r.block_hashes == salts("x>off", PROMPT, 2)
    assert w.blocks.enter("y") == 2
    assert r.block_hashes == salts("x>off>y", PROMPT, 2)


def test_what_was_computed_before_a_flip_keeps_its_name() -> None:
    w = World()
    w.behaviour = "x"
    r = w.add(PROMPT)
    w.step(r, 10)
    w.blocks.enter(None)
    assert r.block_hashes == salts("x", PROMPT)[:2] + salts("x>off", PROMPT)[2:]
    w.blocks.enter("x")
    assert r.block_hashes == salts("x", PROMPT)[:2] + salts("x>off>x", PROMPT)[2:]


def test_a_request_that_a_flip_finds_waiting_is_not_renamed() -> None:
    w = World()
    r = w.add(PROMPT)
    w.step(r, 0)
    assert w.blocks.enter("x") == 0
    assert r.block_hashes == baseline(PROMPT)


@pytest.mark.parametrize("opted_out", [True, False])
def test_who_is_never_renamed_hides_no_other(opted_out: bool) -> None:
    w = World()
    first = w.add(PROMPT, opted_out=True) if opted_out else FakeRequest("n", PROMPT, None)
    w.requests.setdefault(first.request_id, first)
    second = w.add([9] * 22)
    w.step(first, 10)
    w.step(second, 10)
    assert w.blocks.enter("x") == 1
    assert second.block_hashes == salts("x", [9] * 22, 2)


def test_what_a_flip_renamed_has_a_class_from_there_on() -> None:
    w = World()
    r = w.add(PROMPT)
    w.step(r, 10)
    w.blocks.enter("x")
    assert w.blocks.reused_tokens(r, 20) == 20 - 8

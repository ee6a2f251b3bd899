"""Tests what of the contract is computed."""

from indexcache_core import contract


def test_each_life_of_an_engine_has_its_name() -> None:
    names = {contract.new_incarnation() for _ in range(99)}
    assert {len(name) for name in names} == {16}
    assert len(names) == 99

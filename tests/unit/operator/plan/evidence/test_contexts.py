"""Tests the traffic's contexts, by what engines count of this try."""

from indexcache_core.contract import Identity
from indexcache_operator.plan.evidence import contexts

from tests.unit.operator.plan.evidence.engines import look, served

ALL = range(contexts.BUCKETS)


def test_shares_are_of_all_engines_together_and_of_the_buckets_asked_for() -> None:
    found = look(served({0: 5, 2: 10}), None, served({2: 20, 3: 10}))
    assert contexts.shares(found, ALL) == {0: 5 / 45, 2: 30 / 45, 3: 10 / 45}
    assert contexts.shares(found, range(1, 9)) == {2: 0.75, 3: 0.25}
    assert contexts.shares(found, [1]) == {}


def test_nothing_is_known_before_a_request_came() -> None:
    assert contexts.shares(look(served({}), None), ALL) == {}
    assert contexts.work(look(served({}), None)) == (0.0,) * 9


def test_what_an_engine_counted_for_another_try_says_nothing_of_this() -> None:
    assert contexts.shares(look(served({2: 9}, revision="other"), served({3: 1})), ALL) == {3: 1.0}


def test_an_engine_that_was_taken_back_in_this_try_is_counted_on() -> None:
    back = served({2: 9})
    back = back.model_copy(update={"desired": back.desired.model_copy(update={"pattern": None})})
    assert back.identity != Identity()
    assert contexts.shares(look(back), ALL) == {2: 1.0}


def test_work_and_who_decodes_are_of_all_engines_together() -> None:
    found = look(served({1: 70, 3: 10}, {1: 70}), None, served({3: 5}, {4: 0.1}))
    assert contexts.work(found) == (0, 70, 0, 15, 0, 0, 0, 0, 0)
    assert contexts.decoding(found) == {1, 4}

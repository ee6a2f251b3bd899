"""Tests the traffic's contexts, by what engines count of this try."""

from indexcache_core.contract import Identity, Work
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
    assert contexts.shares_of_work(look(served({}), None)) == {}


def test_what_an_engine_counted_for_another_try_says_nothing_of_this() -> None:
    assert contexts.shares(look(served({2: 9}, revision="other"), served({3: 1})), ALL) == {3: 1.0}


def test_an_engine_that_was_taken_back_in_this_try_is_counted_on() -> None:
    back = served({2: 9})
    back = back.model_copy(update={"desired": back.desired.model_copy(update={"pattern": None})})
    assert back.identity != Identity()
    assert contexts.shares(look(back), ALL) == {2: 1.0}


def test_all_are_prefilled_and_those_that_asked_for_it_decode() -> None:
    found = contexts.shares_of_work(look(served({1: 70, 2: 30, 3: 10}, {1: 70, 2: 20}), served({2: 10})))
    assert found == {(2, Work.PREFILL): 0.8, (3, Work.PREFILL): 0.2, (2, Work.DECODE): 0.4}

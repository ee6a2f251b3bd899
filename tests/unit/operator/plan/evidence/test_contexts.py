"""The traffic's contexts: from the try's beginning on, and following a drift."""

from dataclasses import replace

import pytest
from indexcache_core.contract import Requests
from indexcache_operator.plan.evidence import contexts
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.snapshot import Snapshot

from tests.unit.operator.plan.build import case, engine, pod, snapshot


def at_look(*counts: int, incarnation: str = "one", name: str = "a") -> Snapshot:
    """Return one engine with that many requests in the first buckets of context, and one that can't be
    asked."""
    padded = (*counts, *(0,) * (contexts.BUCKETS - len(counts)))
    return snapshot(
        pod("z", None), pod(name, engine(incarnation=incarnation, requests=Requests(contexts=padded)))
    )


def follow(*looks: Snapshot) -> Memory:
    memory = Memory(key="try")
    for each in looks:
        memory = contexts.observe(case(each, memory=memory))
    return memory


def test_requests_from_before_the_try_say_nothing_of_it() -> None:
    assert contexts.shares(follow(at_look(0, 0, 900), at_look(0, 0, 900, 30)), range(9)) == {3: 1.0}


def test_nothing_is_known_before_a_request_came() -> None:
    assert contexts.shares(follow(at_look(0, 0, 900)), range(9)) == {}
    assert contexts.shares(follow(at_look(0, 0, 900), at_look(0, 0, 900)), range(9)) == {}


def test_shares_are_of_the_buckets_asked_for() -> None:
    memory = follow(at_look(), at_look(5, 0, 30, 10))
    assert contexts.shares(memory, range(1, 9)) == {2: 0.75, 3: 0.25}
    assert contexts.shares(memory, [1]) == {}


def test_one_request_is_enough() -> None:
    assert contexts.shares(follow(at_look(), at_look(0, 1)), range(9)) == {1: 1.0}


def test_an_engine_that_restarted_counts_from_zero_again() -> None:
    memory = follow(at_look(0, 5), at_look(0, 9), at_look(0, 3, incarnation="two"))
    assert sum(memory.contexts) == pytest.approx(7, abs=0.1)


def test_a_counter_that_fell_takes_nothing_away() -> None:
    assert sum(follow(at_look(0, 50), at_look(0, 3)).contexts) == 0.0


def test_an_engine_that_was_silent_for_a_look_goes_on_where_it_was() -> None:
    memory = follow(at_look(0, 50), snapshot(pod("a", None)), at_look(0, 52))
    assert sum(memory.contexts) == 2.0


def test_some_hundred_requests_halve_what_came_before() -> None:
    half = int(contexts.HALF)
    memory = follow(at_look(), at_look(0, 0, 100), at_look(0, 0, 100, half))
    assert memory.contexts[2:4] == pytest.approx((50.0, half))


def test_a_drift_outweighs_the_past() -> None:
    steady = follow(at_look(), at_look(0, 0, 1000))
    drifted = contexts.observe(case(at_look(0, 0, 1000, 400), memory=steady))
    assert contexts.shares(drifted, range(9))[3] > 0.6
    assert contexts.shares(replace(drifted, contexts=steady.contexts), range(9)) == {2: 1.0}

"""Users' requests since a mark, by the engines' own counters."""

from indexcache_core.contract import Requests, State
from indexcache_operator.plan.facts import requests
from indexcache_operator.plan.facts.memory import Mark

from tests.unit.operator.plan.build import at, engine, pod, snapshot


def counted(baseline: int, reuse: int = 0, incarnation: str = "life") -> State:
    return engine(
        requests=Requests(admitted_baseline=baseline, admitted_reuse=reuse), incarnation=incarnation
    )


def test_a_mark_holds_what_each_engine_that_answers_had_admitted() -> None:
    mark = requests.begin(
        snapshot(pod("a", counted(5, 2)), pod("b", None), pod("c", counted(1), deleting=True)), "20@5"
    )
    assert mark == Mark(setting="20@5", since=at(0), admitted={("a", "life"): 7, ("c", "life"): 1}, number=1)
    assert requests.begin(snapshot(), "x", 4).number == 4


def test_new_requests_are_those_since_the_mark() -> None:
    mark = requests.begin(snapshot(pod("a", counted(5, 2)), pod("b", counted(9))), "x")
    new, after = requests.since(snapshot(pod("a", counted(6, 4)), pod("b", counted(9))), mark)
    assert new == {("a", "life"): 3, ("b", "life"): 0}
    assert after == mark


def test_an_engine_that_answers_late_counts_from_what_it_shows_first() -> None:
    mark = requests.begin(snapshot(pod("a", counted(5)), pod("b", None)), "x")
    new, mark = requests.since(snapshot(pod("a", counted(5)), pod("b", counted(900))), mark)
    assert new == {("a", "life"): 0, ("b", "life"): 0}
    assert requests.since(snapshot(pod("b", counted(901))), mark)[0] == {("b", "life"): 1}


def test_another_life_of_an_engine_has_a_count_of_its_own() -> None:
    mark = requests.begin(snapshot(pod("a", counted(500))), "x")
    new, _ = requests.since(snapshot(pod("a", counted(3, incarnation="next"))), mark)
    assert new == {("a", "next"): 0}


def test_a_counter_that_fell_is_no_negative_traffic() -> None:
    mark = requests.begin(snapshot(pod("a", counted(500))), "x")
    assert requests.since(snapshot(pod("a", counted(3))), mark)[0] == {("a", "life"): 0}

"""Plans while engines say what no decision can be made of."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexcache_operator.believing import plan_believing
from indexcache_operator.model import Observation, Plan
from indexcache_operator.plan.facts.memory import Memory

from tests.unit.operator.plan.build import engine, observation, pod

NAMES = "abcde"


class Choking:
    """A planner that fails on the states of some pods, and on several together where told so."""

    def __init__(self, bad: set[str], together: bool = False) -> None:
        self.bad, self.together = bad, together

    def __call__(self, seen: Observation, memory: Memory | None) -> Plan[Memory]:
        told = {p.name for p in seen.pods if p.state is not None} & self.bad
        if len(told) > (1 if self.together else 0):
            raise OverflowError(f"{sorted(told)}")
        return Plan(status=seen.status, memory=memory or Memory(key="try"))


SEEN = observation(*(pod(name, engine()) for name in NAMES))


@given(st.sets(st.sampled_from(NAMES)))
def test_only_engines_that_cant_be_judged_are_left_out(bad: set[str]) -> None:
    made, doubted = plan_believing(Choking(bad), SEEN, None)
    assert set(doubted) == bad
    assert made.status == SEEN.status


def test_what_only_together_cant_be_judged_is_left_out_together() -> None:
    _, doubted = plan_believing(Choking({"a", "b"}, together=True), SEEN, None)
    assert set(doubted) == set(NAMES)


def test_the_plan_says_why_an_engine_was_left_out() -> None:
    asked: list[Observation] = []

    def planner(seen: Observation, memory: Memory | None) -> Plan[Memory]:
        asked.append(seen)
        return Choking({"b"})(seen, memory)

    plan_believing(planner, SEEN, None)
    found = {p.name: p for p in asked[-1].pods}
    assert found["b"] == replace(
        pod("b"), state=None, error="its state can't be judged: OverflowError: ['b']"
    )
    assert found["a"] == pod("a", engine())


def test_the_reason_is_as_long_as_a_status_may_say() -> None:
    asked: list[Observation] = []

    def planner(seen: Observation, memory: Memory | None) -> Plan[Memory]:
        asked.append(seen)
        if any(p.state is not None for p in seen.pods):
            raise ValueError("x" * 1000)
        return Plan(status=seen.status, memory=Memory(key="try"))

    plan_believing(planner, SEEN, None)
    assert [len(p.error or "") for p in asked[-1].pods] == [256] * len(NAMES)


@pytest.mark.parametrize("bad", [set(), {"b"}])
def test_what_was_remembered_is_known_each_time_that_is_planned(bad: set[str]) -> None:
    known, told = Memory(key="before"), list[Memory | None]()

    def planner(seen: Observation, memory: Memory | None) -> Plan[Memory]:
        told.append(memory)
        return Choking(bad)(seen, memory)

    made, _ = plan_believing(planner, SEEN, known)
    assert made.memory is known
    assert all(memory is known for memory in told)


def test_a_planner_that_fails_without_any_engine_fails() -> None:
    def planner(seen: Observation, memory: Memory | None) -> Plan[Memory]:
        raise KeyError("spec")

    with pytest.raises(KeyError, match="spec"):
        plan_believing(planner, SEEN, None)

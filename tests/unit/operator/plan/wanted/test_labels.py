"""Tests behind which Services pods stand while a canary runs."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_operator.model import EnginePod, Route
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.wanted import labels
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT

from tests.unit.operator.plan.build import MOVED, WITH_CANARY, case, pod, route, told
from tests.unit.operator.plan.wanted.lives import DRAINED, NOTHING, UNROUTED


def entering(
    *pods: EnginePod, chosen: list[str], memory: Memory = NOTHING, **changes: Any
) -> dict[str, tuple[bool, bool]]:
    seen = told(dict.fromkeys(chosen, ON_CANARY_PERMIT), *pods, **changes)
    kept = replace(seen.observation.status, canary_pods=tuple(chosen))
    return labels.entering_labels(case(seen, kept, memory))


def test_a_chosen_pod_leaves_the_baseline_and_joins_the_canary_once_it_is_confirmed() -> None:
    assert entering(pod("a"), pod("b"), chosen=["a"]) == {"a": (False, False), "b": (True, False)}
    assert entering(pod("a"), pod("b"), chosen=["a"], memory=DRAINED) == {
        "a": (False, True),
        "b": (True, False),
    }


def test_without_a_route_a_chosen_pod_stands_behind_both() -> None:
    assert entering(pod("a"), pod("b"), chosen=["a"], **UNROUTED) == {"a": (True, True), "b": (True, False)}


@pytest.mark.parametrize(
    "others",
    [[], [pod("b", ready=False)], [pod("b", baseline_label=False)], [pod("b", deleting=True)]],
    ids=["none", "ready", "label", "out"],
)
def test_no_pod_leaves_the_baselines_service_empty(others: list[EnginePod]) -> None:
    assert entering(pod("a"), *others, chosen=["a"])["a"] == (True, False)


def test_one_chosen_pod_stays_for_no_other() -> None:
    assert entering(pod("a"), pod("c"), chosen=["a", "c"]) == {"a": (True, False), "c": (True, False)}


@pytest.mark.parametrize(
    ("other", "seen", "stays"),
    [
        ([], WITH_CANARY, True),
        ([pod("b", **MOVED)], WITH_CANARY, False),
        ([pod("b", ready=False, **MOVED)], WITH_CANARY, True),
        ([pod("b", baseline_label=False)], WITH_CANARY, True),
        ([], route(), False),
    ],
)
def test_a_pod_leaves_the_canarys_service_only_when_another_is_there_or_the_route_names_it_no_more(
    other: list[EnginePod], seen: Route, stays: bool
) -> None:
    """That other is another: a pod is no reason for itself to leave."""
    pods = [pod("a", **MOVED), *other, pod("z")]
    chosen = ["a", *(p.name for p in other)]
    assert entering(*pods, chosen=chosen, route=seen)["a"] == (False, stays)


def test_a_pod_given_back_leaves_the_canarys_service_only_when_one_of_the_canarys_is_there() -> None:
    returned, moved = pod("a", canary_label=True), pod("b", **MOVED)
    assert entering(returned, moved, chosen=["b"], route=WITH_CANARY)["a"] == (True, False)
    assert entering(returned, pod("b"), chosen=["b"], route=WITH_CANARY)["a"] == (True, True)
    assert entering(returned, moved, chosen=[], route=WITH_CANARY)["a"] == (True, True)
    assert entering(pod("a"), pod("b"), chosen=["b"], route=WITH_CANARY)["a"] == (True, False)


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_pods_that_leave_together_never_leave_the_canarys_service_empty(names: str) -> None:
    """As after an absence in which all their permits lapsed: the route still sends there."""
    pods = [pod(name, **MOVED) for name in names]
    found = entering(*pods, pod("z"), chosen=list(names), route=WITH_CANARY)
    assert [name for name in names if found[name] == (False, True)] == [names[-1]]
    gone = entering(*pods, pod("z"), chosen=list(names), route=route())
    assert not any(canary for _, canary in gone.values())

"""Tests how many pods a weight exposes, and which."""

import pytest
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.wanted import canary_pods

from tests.unit.operator.plan.build import case, pod, snapshot, status
from tests.unit.operator.plan.wanted.lives import UNROUTED


@pytest.mark.parametrize(
    ("weight", "replicas", "routed", "expected"),
    [
        (5, 4, True, 1),
        (25, 4, True, 1),
        (50, 3, True, 2),
        (50, 5, True, 3),
        (49, 5, True, 2),
        (100, 4, True, 3),
        (100, 4, False, 4),
        (1, 1, False, 1),
    ],
)
def test_how_many_pods_a_weight_exposes(weight: int, replicas: int, routed: bool, expected: int) -> None:
    assert canary_pods.canary_count(weight, replicas, routed) == expected


@pytest.mark.parametrize(
    ("pods", "before", "count", "expected"),
    [
        ([pod("c"), pod("a"), pod("b")], [], 2, ["a", "b"]),
        ([pod("a"), pod("b"), pod("c")], ["c"], 2, ["c", "a"]),
        ([pod("a"), pod("b"), pod("c")], ["c", "gone"], 1, ["c"]),
        ([pod("a"), pod("b"), pod("c")], ["b", "c"], 1, ["b", "c"]),
        ([pod("a"), pod("b")], [], 2, ["a"]),
        ([pod("a"), pod("b", ready=False), pod("c")], [], 2, ["a"]),
        ([pod("a"), pod("b", None), pod("c"), pod("d")], [], 2, ["a", "c"]),
        ([pod("a"), pod("b", current=False), pod("c"), pod("d")], [], 2, ["a", "c"]),
        ([pod("a", deleting=True), pod("b"), pod("c")], ["a"], 1, ["b"]),
        ([pod("a", ready=False), pod("b"), pod("c")], ["a"], 1, ["a"]),
        ([pod("a"), pod("b")], ["a", "b"], 2, ["a"]),
        ([pod("a"), pod("b"), pod("c", ready=False)], ["a", "b"], 2, ["a"]),
        ([pod("a"), pod("b"), pod("c", None)], ["a", "b"], 2, ["a", "b"]),
        ([pod("a")], ["a"], 1, []),
    ],
)
def test_the_canarys_pods(pods: list[EnginePod], before: list[str], count: int, expected: list[str]) -> None:
    assert canary_pods.choose(case(snapshot(*pods), status(canary_pods=before)), count) == tuple(expected)


def test_without_a_route_all_pods_can_be_chosen_and_none_is_given_back() -> None:
    assert canary_pods.choose(case(snapshot(pod("a"), pod("b"), **UNROUTED), status()), 2) == ("a", "b")
    assert canary_pods.choose(case(snapshot(pod("a"), **UNROUTED), status(canary_pods=("a",))), 1) == ("a",)
    assert canary_pods.choose(case(snapshot(pod("a"), **UNROUTED), status()), 2) == ("a",)

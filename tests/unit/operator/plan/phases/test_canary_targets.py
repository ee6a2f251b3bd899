"""Tests what the canary wants of engines, labels and the route."""

import pytest
from indexcache_operator.api.status import TrafficStatus
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.phases import canary
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT, SHADOW
from indexcache_operator.plan.wanted.targets import Targets

from tests.unit.operator.plan.build import (
    MOVED,
    pod,
)
from tests.unit.operator.plan.phases.exposing import exposing


def test_reuse_is_turned_on_where_nobody_comes_any_more() -> None:
    c = exposing(pod("a", baseline_label=False), pod("b"), pod("c", deleting=True))
    assert canary.targets(c).kinds == {"a": ON_CANARY_PERMIT, "b": SHADOW}
    waiting = exposing(pod("a", baseline_label=False), pod("b"), drained=frozenset())
    assert canary.targets(waiting).kinds == {"a": SHADOW, "b": SHADOW}
    elsewhere = exposing(pod("a"), pod("b"), drained=frozenset({("b", "life")}))
    assert canary.targets(elsewhere).kinds == {"a": SHADOW, "b": SHADOW}


def weights(found: Targets) -> list[tuple[str, int]] | None:
    return None if found.backends is None else [(b["name"], b["weight"]) for b in found.backends]


def test_labels_and_route_follow() -> None:
    found = canary.targets(exposing())
    assert found.labels == {"a": (False, True), "b": (True, False), "c": (True, False)}
    assert weights(found) == [("other", 100), ("chat-baseline", 160), ("chat-canary", 40)]


@pytest.mark.parametrize("exposed", [pod("a", baseline_label=False), pod("a", ready=False, **MOVED)])
def test_a_weight_waits_for_a_ready_pod_behind_the_canarys_service(exposed: EnginePod) -> None:
    assert canary.targets(exposing(exposed, pod("b"))).backends is None
    assert canary.targets(exposing(exposed, pod("b", canary_label=True))).backends is None
    none = canary.targets(exposing(exposed, pod("b"), traffic=TrafficStatus(desired=0)))
    assert weights(none) == [("other", 1), ("chat-baseline", 2)]


def test_one_percent_is_a_weight_too() -> None:
    exposed = pod("a", baseline_label=False)
    assert canary.targets(exposing(exposed, pod("b"), traffic=TrafficStatus(desired=1))).backends is None

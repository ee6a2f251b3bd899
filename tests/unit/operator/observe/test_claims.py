"""Tests which of several rollouts has a rule of a route."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexcache_operator.observe.claims import Claims
from indexcache_operator.observe.rollout import read

SPEC = {"engine": {"image": "i", "model": "m"}, "indexCache": {"pattern": "FS"}}


def rollout(
    name: str,
    minute: int = 0,
    *,
    holds: bool = False,
    route: str | None = "users",
    rule: str = "all",
    namespace: str = "ns",
) -> dict[str, Any]:
    spec = SPEC | ({"traffic": {"httpRoute": {"name": route, "rule": rule}}} if route else {})
    kept: dict[str, Any] = {"route": {"name": route, "rule": rule, "originalBackends": []}} if holds else {}
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-{name}",
        "creationTimestamp": f"2026-01-01T00:{minute:02}:00Z",
    }
    return {"metadata": metadata, "spec": spec, "status": kept}


def others(*rollouts: dict[str, Any]) -> dict[str, str | None]:
    """Return who has the rule instead of each of them."""
    claims = Claims()
    for raw in rollouts:
        claims.note(raw)
    return {raw["metadata"]["name"]: claims.other(read(raw)) for raw in rollouts}


def test_the_first_made_has_it() -> None:
    assert others(rollout("b", 1), rollout("a", 2), rollout("c", 3)) == {"a": "b", "b": None, "c": "b"}


def test_whoever_changed_the_route_has_it() -> None:
    assert others(rollout("a", 1), rollout("b", 2, holds=True)) == {"a": "b", "b": None}


def test_of_two_that_changed_it_the_first_made_has_it() -> None:
    assert others(rollout("a", 2, holds=True), rollout("b", 1, holds=True)) == {"a": "b", "b": None}


@pytest.mark.parametrize(
    "changes", [{"route": "other"}, {"rule": "other"}, {"namespace": "other"}, {"route": None}]
)
def test_other_rules_are_others(changes: dict[str, Any]) -> None:
    assert others(rollout("a", 1), rollout("b", 2, **changes)) == {"a": None, "b": None}


def test_what_is_gone_or_asks_for_another_rule_by_now_claims_nothing() -> None:
    claims, second = Claims(), read(rollout("b", 2))
    claims.note(rollout("a", 1))
    assert claims.other(second) == "a"
    claims.note(rollout("a", 1, route=None))
    assert claims.other(second) is None
    claims.note(rollout("a", 1))
    claims.forget("uid-a")
    assert claims.other(second) is None


@given(st.permutations(range(4)), st.sets(st.integers(0, 3)))
def test_exactly_one_has_it_in_whatever_order_they_are_seen(order: list[int], holding: set[int]) -> None:
    made = [rollout(f"r{i}", i, holds=i in holding) for i in range(4)]
    found = others(*(made[i] for i in order))
    (owner,) = [name for name, other in found.items() if other is None]
    assert {other for name, other in found.items() if name != owner} == {owner}


JSON: Any = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.dictionaries(
        st.sampled_from(["spec", "status"]),
        JSON | st.dictionaries(st.sampled_from(["traffic", "route"]), JSON),
    )
)
def test_whatever_a_rollout_holds_it_is_taken_up(odd: dict[str, Any]) -> None:
    Claims().note({"metadata": {"name": "a", "namespace": "ns", "uid": "u"}, **odd})

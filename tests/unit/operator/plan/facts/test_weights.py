"""Weights of a route's backends."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexcache_operator.plan.facts import weights

BASE: dict[str, Any] = {"name": "chat-baseline", "kind": "Service", "port": 80, "filters": [{"type": "X"}]}
OTHER: dict[str, Any] = {"name": "other", "weight": 3}


def weighted(original: list[dict[str, Any]], percent: int) -> tuple[dict[str, Any], ...]:
    return weights.weighted(original, "chat-baseline", "chat-canary", percent, "ns")


def test_a_weight_of_zero_is_the_original_itself() -> None:
    assert weighted([OTHER, BASE], 0) == (OTHER, BASE)


def test_the_canarys_backend_is_the_baselines_with_another_name() -> None:
    assert weighted([OTHER, BASE, {"name": "last"}], 5) == (
        {**OTHER, "weight": 300},
        {**BASE, "weight": 95},
        {**BASE, "name": "chat-canary", "weight": 5},
        {"name": "last", "weight": 100},
    )
    assert weighted([{**BASE, "weight": 2}], 1) == (
        {**BASE, "weight": 198},
        {**BASE, "name": "chat-canary", "weight": 2},
    )


def test_at_a_hundred_the_baseline_is_left_out_never_at_weight_zero() -> None:
    assert weighted([BASE], 100) == ({**BASE, "name": "chat-canary", "weight": 100},)
    assert [b["weight"] for b in weighted([BASE], 99)] == [1, 99]


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=4), st.integers(1, 99))
def test_ratios_between_all_others_stay(shares: list[int], percent: int) -> None:
    original = [{"name": f"b{i}", "weight": w} for i, w in enumerate(shares)]
    out = weights.weighted(original, "b0", "canary", percent, "ns")
    total, before = sum(b["weight"] for b in out), sum(shares)
    by_name = {b["name"]: b["weight"] for b in out}
    for i, w in enumerate(shares[1:], 1):
        assert by_name[f"b{i}"] * before == w * total
    assert (by_name["b0"] + by_name["canary"]) * before == shares[0] * total
    assert by_name["canary"] * 100 == percent * (by_name["b0"] + by_name["canary"])
    assert all(b["weight"] > 0 for b in out)


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ({"name": "chat-baseline"}, True),
        ({"name": "chat-baseline", "kind": "Service", "group": ""}, True),
        ({"name": "chat-baseline", "kind": "InferencePool"}, False),
        ({"name": "chat-baseline", "group": "x"}, False),
        ({"name": "chat-baseline", "namespace": "ns"}, True),
        ({"name": "chat-baseline", "namespace": ""}, True),
        ({"name": "chat-baseline", "namespace": "victim"}, False),
        ({"name": "other"}, False),
        ({}, False),
    ],
)
def test_the_baseline_is_a_service_of_that_name(backend: dict[str, Any], expected: bool) -> None:
    assert weights.names([OTHER, backend], "chat-baseline", "ns") is expected
    assert weights.baseline_index([OTHER, backend], "chat-baseline", "ns") == (1 if expected else None)


def test_a_baseline_that_names_the_routes_namespace_is_weighted_too() -> None:
    named = {**BASE, "namespace": "ns"}
    assert [b["name"] for b in weighted([named], 5)] == ["chat-baseline", "chat-canary"]
    assert not weights.too_heavy([named], "chat-baseline", "chat-canary", [5], "ns")


def test_a_list_without_the_baseline_can_not_be_weighted() -> None:
    with pytest.raises(ValueError, match="chat-baseline"):
        weighted([OTHER], 5)


MOST = weights.MAX_WEIGHT


def test_weights_are_shortened_only_where_they_would_be_too_heavy() -> None:
    exact = weighted([{**BASE, "weight": MOST // 50}], 50)
    assert [b["weight"] for b in exact] == [MOST, MOST]
    shortened = weighted([{**BASE, "weight": MOST // 25}, {**OTHER, "weight": MOST // 25}], 50)
    assert [b["weight"] for b in shortened] == [1, 1, 2]
    assert all(isinstance(b["weight"], int) for b in shortened)


@pytest.mark.parametrize(
    ("backends", "percents", "expected"),
    [
        ([{**BASE, "weight": 999_999}, {"name": "o", "weight": 7}], [5], True),
        ([{**BASE, "weight": MOST}], [5, 25, 50], False),
        ([{**BASE, "weight": MOST // 50}, {"name": "o", "weight": 7}], [50], False),
        ([{**BASE, "weight": MOST + 1}], [0], True),
        ([{**BASE, "weight": MOST}], [0], False),
        ([BASE], [0], False),
        ([{**BASE, "weight": 999_999}, {"name": "o", "weight": 7}], [], False),
    ],
)
def test_weights_that_can_not_be_written_are_seen_before(
    backends: list[dict[str, Any]], percents: list[int], expected: bool
) -> None:
    assert weights.too_heavy(backends, "chat-baseline", "c", percents, "ns") is expected

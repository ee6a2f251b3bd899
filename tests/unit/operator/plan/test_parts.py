"""The planner's parts, each by itself."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexcache_operator.api.status import Rejected, TrafficStatus
from indexcache_operator.plan import clock, guardrails, revision, route_math
from indexcache_operator.plan.context import weighted
from indexcache_operator.plan.exposure import canary_count

from tests.unit.operator.plan.world import spec

BASE = {"name": "chat-baseline", "kind": "Service", "port": 80, "filters": [{"type": "X"}]}
OTHER = {"name": "other", "weight": 3}


@pytest.mark.parametrize(("text", "expected"), [("90s", 90.0), ("1h30m", 5400.0), ("250ms", 0.25), ("1.5h", 5400.0), ("0s", 0.0)])
def test_durations(text: str, expected: float) -> None:
    assert clock.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "s", "5d", "5s ", "-1s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        clock.seconds(text)


def test_times_survive_writing_down() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    assert clock.parse(clock.stamp(now)) == now
    assert clock.age(now, "") == 0.0
    assert clock.age(now, clock.later(clock.stamp(now), 5)) == 0.0
    assert clock.age(now, clock.later(clock.stamp(now), -5)) == 5.0


def test_a_weight_of_zero_is_the_original_itself() -> None:
    assert route_math.weighted([OTHER, BASE], "chat-baseline", "chat-canary", 0) == (OTHER, BASE)


def test_the_canarys_backend_is_the_baselines_with_another_name() -> None:
    out = route_math.weighted([OTHER, BASE], "chat-baseline", "chat-canary", 5)
    assert out == ({**OTHER, "weight": 300}, {**BASE, "weight": 95}, {**BASE, "name": "chat-canary", "weight": 5})


def test_at_a_hundred_the_baseline_is_left_out_never_at_weight_zero() -> None:
    out = route_math.weighted([BASE], "chat-baseline", "chat-canary", 100)
    assert [b["name"] for b in out] == ["chat-canary"]


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=4), st.integers(1, 99))
def test_ratios_between_all_others_stay(weights: list[int], percent: int) -> None:
    original = [{"name": f"b{i}", "weight": w} for i, w in enumerate(weights)]
    out = route_math.weighted(original, "b0", "canary", percent)
    total, before = sum(b["weight"] for b in out), sum(weights)
    by_name = {b["name"]: b["weight"] for b in out}
    for i, w in enumerate(weights[1:], 1):
        assert by_name[f"b{i}"] * before == w * total
    assert (by_name["b0"] + by_name["canary"]) * before == weights[0] * total
    assert by_name["canary"] * 100 == percent * (by_name["b0"] + by_name["canary"])
    assert all(b["weight"] > 0 for b in out)


def test_a_backend_of_another_kind_is_not_the_baseline() -> None:
    assert not route_math.names([{"name": "chat-baseline", "kind": "InferencePool", "group": "x"}], "chat-baseline")
    with pytest.raises(ValueError, match="chat-baseline"):
        route_math.weighted([OTHER], "chat-baseline", "chat-canary", 5)


def test_weights_that_cannot_be_written_are_seen_before() -> None:
    assert route_math.too_heavy([{**BASE, "weight": 999_999}, {"name": "o", "weight": 7}], "chat-baseline", "c", [5])
    assert not route_math.too_heavy([{**BASE, "weight": 1_000_000}], "chat-baseline", "c", [5, 25, 50])


@pytest.mark.parametrize(
    ("weight", "replicas", "routed", "expected"),
    [(5, 4, True, 1), (25, 4, True, 1), (50, 3, True, 2), (100, 4, True, 3), (100, 4, False, 4)],
)
def test_how_many_pods_a_weight_exposes(weight: int, replicas: int, routed: bool, expected: int) -> None:
    assert canary_count(weight, replicas, routed) == expected


def test_alpha_is_split_over_what_acts_and_never_overspent() -> None:
    g = {"overlap": {"min": 0.3}, "recall": {"min": 0.5, "perIndexerMin": 0.3}, "quality": {"probes": {"configMap": "p"}}}
    rows = guardrails.guardrails(spec(guardrails=g))
    breaker = guardrails.breaker(spec(guardrails=g))
    assert breaker is not None
    assert breaker.guardrails == ("overlap", "recall", "recall_per_indexer")
    operators, engines = sum(row.alpha * len(row.tests) for row in rows if row.acts), 3 * breaker.alpha
    assert operators == pytest.approx(0.009)
    assert engines == pytest.approx(0.001)
    by_name = {row.name: row for row in rows}
    assert by_name["quality"].alpha == pytest.approx(0.009 / 4)
    assert by_name["recall"].alpha == pytest.approx(0.009 / 4 / 7)
    assert by_name["recallPerIndexer"].alpha == pytest.approx(0.009 / 4 / 14)
    assert by_name["recall"].share == 0.5


def test_what_only_observes_takes_no_part_of_alpha() -> None:
    rows = guardrails.guardrails(spec(guardrails={"overlap": {"min": 0.3, "observeOnly": True}, "recall": {"min": 0.5}}))
    by_name = {row.name: row for row in rows}
    assert [row.name for row in rows if row.acts] == ["recall"]
    assert by_name["recall"].alpha == pytest.approx(0.009 / 7)


@pytest.mark.parametrize(
    ("recall", "expected"),
    [
        ({"min": 0.5}, ("recall",)),
        ({"perIndexerMin": 0.3}, ("recall_per_indexer",)),
        ({"min": 0.5, "perIndexerMin": 0.3, "observeOnly": True}, None),
        ({}, None),
    ],
)
def test_breakers_judge_what_acts_and_can_be_measured(recall: dict[str, object], expected: tuple[str, ...] | None) -> None:
    judged = spec(guardrails={"recall": recall, "quality": {"probes": {"configMap": "p"}}})
    breaker = guardrails.breaker(judged)
    assert (breaker and breaker.guardrails) == expected
    if expected is None:  # then all of alpha is the operator's
        assert sum(row.alpha * len(row.tests) for row in guardrails.guardrails(judged) if row.acts) == pytest.approx(0.01)


def test_protected_indexers_are_no_tests() -> None:
    rows = guardrails.guardrails(spec(indexCache={"pattern": "FSSS", "protected": [2]}, guardrails={"recall": {"perIndexerMin": 0.3}}))
    assert {t.site for row in rows if row.name == "recallPerIndexer" for t in row.tests} == {1, 3}


def test_a_revision_is_what_engines_compute_with() -> None:
    engine = {"image": "engine:1", "model": "/model"}
    base = revision.revision(spec(engine={**engine, "replicas": 3}))
    assert revision.revision(spec(engine={**engine, "replicas": 9}, guardrails={"recall": {"min": 0.1}})) == base
    assert revision.revision(spec(engine={**engine, "args": ["--x"]})) != base
    assert revision.revision(spec(indexCache={"pattern": "FSFS", "minContextTokens": 1})) != base


def test_a_retry_is_used_up() -> None:
    rejected = Rejected(revision="abc", reason="x", at="", retried="")
    assert revision.retry_allowed({revision.RETRY: "abc"}, rejected)
    assert not revision.retry_allowed({revision.RETRY: "abd"}, rejected)
    assert not revision.retry_allowed({}, rejected)
    again = rejected.model_copy(update={"retried": "abc"})
    assert not revision.retry_allowed({revision.RETRY: "abc"}, again)
    assert revision.retry_allowed({revision.RETRY: "abc/2"}, again)


@pytest.mark.parametrize(
    ("desired", "previous", "verified", "percent", "refute"),
    [(20, 0, None, 0, 20), (50, 25, None, 0, 25), (50, 25, 7, 0, 50), (20, 0, None, 50, 20), (0, 0, 3, 5, 0)],
)
def test_what_the_counters_must_refute_is_the_nearest_that_the_weight_may_have_been(
    desired: int, previous: int, verified: int | None, percent: int, refute: int
) -> None:
    before = TrafficStatus(desired=desired, previous=previous, verified_generation=verified)
    assert weighted(before, percent) == TrafficStatus(desired=percent, previous=refute)

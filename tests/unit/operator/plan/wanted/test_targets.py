"""Tests which labels and backends are changed: those that differ."""

from indexcache_operator.model import PatchRoute, Route, SetLabels
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.wanted import targets
from indexcache_operator.plan.wanted.targets import Targets

from tests.unit.operator.plan.build import KEPT, WITH_CANARY, case, pod, route, snapshot, status


def test_only_labels_that_differ_are_set() -> None:
    seen = snapshot(pod("a"), pod("b"), pod("c", canary_label=True), pod("d"), pod("e", deleting=True))
    wanted = {"a": (True, False), "b": (False, False), "c": (True, False), "e": (False, False)}
    assert targets.label_actions(seen, Targets(labels=wanted)) == [
        SetLabels(pod="b", baseline=False, canary=False),
        SetLabels(pod="c", baseline=True, canary=False),
    ]
    assert targets.label_actions(snapshot(pod("a")), Targets(labels={"a": (True, True)})) == [
        SetLabels(pod="a", baseline=True, canary=True)
    ]


def test_the_route_is_patched_where_it_differs() -> None:
    kept, wanted = status(route=KEPT), Targets(backends=WITH_CANARY.backends)
    assert targets.route_actions(case(snapshot(), kept), wanted) == [
        PatchRoute(rule_index=0, rule="generate", backends=WITH_CANARY.backends, resource_version="77")
    ]
    nothing: list[tuple[Situation, Targets]] = [
        (case(snapshot(route=WITH_CANARY), kept), wanted),
        (case(snapshot(), kept), Targets()),
        (case(snapshot(), status()), wanted),
        (case(snapshot(route=None), kept), wanted),
        (case(snapshot(route=Route(found=False, rule_index=0)), kept), wanted),
        (case(snapshot(route=route(rule_index=None)), kept), wanted),
    ]
    assert [targets.route_actions(*each) for each in nothing] == [[]] * 6


def test_a_patch_names_the_rule_where_it_is_now() -> None:
    (patch,) = targets.route_actions(
        case(snapshot(route=route(rule_index=3)), status(route=KEPT)), Targets(backends=())
    )
    assert (patch.rule_index, patch.backends) == (3, ())

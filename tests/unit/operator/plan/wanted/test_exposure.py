"""Tests who is exposed, and in which order: pods, labels, route."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from indexcache_core.contract import Mode, State
from indexcache_operator.api.status import PodStatus, RouteStatus, Status
from indexcache_operator.model import EnginePod, PatchRoute, Route, SetLabels
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import Snapshot
from indexcache_operator.plan.wanted import exposure
from indexcache_operator.plan.wanted.exposure import Targets
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT, SHADOW

from tests.unit.operator.plan.build import (
    BASELINE,
    FOREIGN,
    IDLE,
    KEPT,
    ORIGINAL,
    QUALITY,
    WITH_CANARY,
    at,
    case,
    pod,
    route,
    snapshot,
    spec,
    status,
    told,
)

NOTHING = Memory(key="try")
UNROUTED: dict[str, Any] = {"spec": spec(traffic={}), "route": None}
MOVED: dict[str, Any] = {"baseline_label": False, "canary_label": True}
LIFE = ("a", "life")


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
    assert exposure.canary_count(weight, replicas, routed) == expected


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
    assert exposure.choose(case(snapshot(*pods), status(canary_pods=before)), count) == tuple(expected)


def test_without_a_route_all_pods_can_be_chosen_and_none_is_given_back() -> None:
    assert exposure.choose(case(snapshot(pod("a"), pod("b"), **UNROUTED), status()), 2) == ("a", "b")
    assert exposure.choose(case(snapshot(pod("a"), **UNROUTED), status(canary_pods=("a",))), 1) == ("a",)
    assert exposure.choose(case(snapshot(pod("a"), **UNROUTED), status()), 2) == ("a",)


@pytest.mark.parametrize(
    ("state", "memory", "kept", "expected"),
    [
        (IDLE, NOTHING, [], False),
        (IDLE, Memory(key="try", drained_pods=frozenset({LIFE})), [], True),
        (IDLE, Memory(key="try", drained_pods=frozenset({("a", "other"), ("b", "life")})), [], False),
        (IDLE, NOTHING, [PodStatus(name="a", confirmed="life")], True),
        (IDLE, NOTHING, [PodStatus(name="a", confirmed="other")], False),
        (None, NOTHING, [PodStatus(name="a", confirmed="life")], False),
        (None, Memory(key="try", permits={LIFE: at(1)}), [PodStatus(name="a", confirmed="life")], True),
    ],
)
def test_who_left_the_baselines_service_for_good(
    state: State | None, memory: Memory, kept: list[PodStatus], expected: bool
) -> None:
    each = pod("a", state)
    assert exposure.may_reuse(case(snapshot(each), status(pods=kept), memory), each) is expected
    assert exposure.may_reuse(case(snapshot(each, **UNROUTED), status(pods=kept), memory), each)


def canary(*pods: EnginePod, **changes: Any) -> tuple[Snapshot, Status]:
    """Return a look at engines that all run the reuse that the status wants of them."""
    seen = told(dict.fromkeys((p.name for p in pods), ON_CANARY_PERMIT), *pods, **changes)
    return seen, seen.observation.status


def test_an_engines_last_word_holds_as_long_as_its_permit() -> None:
    seen, kept = canary(pod("a"), pod("b", None), pod("c"))
    memory = Memory(
        key="try", permits={("a", "before"): at(9), ("b", "life"): at(8), ("gone", "life"): at(7)}
    )
    assert exposure.note_permits(case(seen, kept, memory)).permits == {
        ("a", "life"): at(5),
        ("b", "life"): at(8),
        ("gone", "life"): at(7),
        ("c", "life"): at(5),
    }
    assert exposure.note_permits(case(Snapshot(snapshot(spec=None).observation), kept, memory)) is memory


@pytest.mark.parametrize("change", [{"mode": Mode.SHADOW}, {"permit_remaining_seconds": None}, {"epoch": 0}])
def test_an_engine_that_does_not_do_what_it_was_told_has_no_last_word(change: dict[str, Any]) -> None:
    seen, kept = canary(pod("a"))
    state = seen.pods[0].state
    assert state is not None
    memory = Memory(key="try", permits={LIFE: at(9)})
    assert (
        exposure.note_permits(case(snapshot(pod("a", state.model_copy(update=change))), kept, memory)).permits
        == {}
    )


@pytest.mark.parametrize(
    ("ends", "expected"), [(at(0.5), True), (at(0), False), (at(-1), False), (None, False)]
)
def test_a_silent_engine_is_taken_at_its_last_word_while_that_holds(
    ends: datetime | None, expected: bool
) -> None:
    memory = Memory(key="try", permits={LIFE: ends} if ends else {})
    kept = status(pods=(PodStatus(name="a", confirmed="life"),))
    assert exposure.last_word(case(snapshot(), kept, memory), pod("a", None)) is expected
    other = status(pods=(PodStatus(name="a", confirmed="other"),))
    assert not exposure.last_word(case(snapshot(), other, memory), pod("a", None))


DRAINED = Memory(key="try", drained_pods=frozenset({LIFE}))
ANSWERED = Memory(key="try", drained_pods=frozenset({LIFE}), answered=frozenset({LIFE}))
PROBED: dict[str, Any] = {"spec": spec(guardrails={"recall": {"min": 0.5}, **QUALITY})}


@pytest.mark.parametrize(
    ("memory", "changes", "expected"),
    [
        (NOTHING, {}, False),
        (DRAINED, {}, True),
        (NOTHING, UNROUTED, True),
        (DRAINED, PROBED, False),
        (ANSWERED, PROBED, True),
        (Memory(key="try", answered=frozenset({LIFE})), PROBED, False),
    ],
)
def test_a_pod_may_take_traffic_once_it_drained_and_answered(
    memory: Memory, changes: dict[str, Any], expected: bool
) -> None:
    seen, kept = canary(pod("a"), **changes)
    assert exposure.confirmed(case(seen, kept, memory), seen.pods[0]) is expected
    before = replace(kept, pods=(replace(kept.pods[0], confirmed="life"),))
    assert exposure.confirmed(case(seen, before, NOTHING), seen.pods[0])


def test_who_is_not_ready_or_does_not_reuse_takes_none() -> None:
    seen, kept = canary(pod("a"))
    known = replace(kept, pods=(replace(kept.pods[0], confirmed="life"),))
    state = seen.pods[0].state
    assert state is not None
    assert exposure.confirmed(case(seen, known, DRAINED), pod("a", state))
    assert not exposure.confirmed(case(seen, known, DRAINED), pod("a", state, ready=False))
    assert not exposure.confirmed(
        case(seen, known, DRAINED), pod("a", state.model_copy(update={"mode": Mode.TRIPPED}))
    )
    assert not exposure.confirmed(case(seen, known, DRAINED), pod("a", state.model_copy(update={"epoch": 0})))
    shadow = told({"a": SHADOW}, pod("a"))
    assert not exposure.confirmed(case(shadow, shadow.observation.status, DRAINED), shadow.pods[0])


def test_a_silent_pod_takes_what_it_took_while_its_last_word_holds() -> None:
    kept = status(pods=(PodStatus(name="a", confirmed="life"),))
    memory = Memory(key="try", permits={LIFE: at(1)})
    assert exposure.confirmed(case(snapshot(), kept, memory), pod("a", None))
    assert not exposure.confirmed(case(snapshot(), kept, memory), pod("a", None, ready=False))
    assert not exposure.confirmed(case(snapshot(), kept, NOTHING), pod("a", None))


def test_who_is_confirmed_stays_so_over_a_restart_of_the_operator() -> None:
    seen, kept = canary(pod("a"), pod("b"), pod("c"), pod("d"))
    gone = PodStatus(name="gone")
    chosen = replace(kept, canary_pods=("a", "b", "gone"), pods=(*kept.pods, gone))
    memory = Memory(key="try", drained_pods=frozenset({LIFE, ("c", "life"), ("d", "life")}))
    after = exposure.confirm(case(seen, chosen, memory))
    assert {p.name: p.confirmed for p in after.pods} == {"a": "life", "b": "", "c": "", "d": "", "gone": ""}
    unseen = snapshot(pod("a", None))
    held = replace(chosen, pods=(PodStatus(name="a", confirmed="life"),))
    assert exposure.confirm(case(unseen, held, Memory(key="try", permits={LIFE: at(1)}))).pods == held.pods


@pytest.mark.parametrize(
    ("good", "count", "weight", "expected"),
    [
        (0, 2, 50, 0),
        (1, 2, 50, 25),
        (2, 2, 50, 50),
        (1, 3, 2, 1),
        (3, 2, 50, 50),
        (1, 3, 50, 16),
        (2, 3, 50, 33),
    ],
)
def test_the_weight_is_what_the_confirmed_pods_justify(
    good: int, count: int, weight: int, expected: int
) -> None:
    seen, kept = canary(*(pod(name, **MOVED) for name in "abc"))
    memory = Memory(key="try", drained_pods=frozenset((name, "life") for name in "abc"[:good]))
    chosen = replace(kept, canary_pods=tuple("abc"))
    assert exposure.justified(case(seen, chosen, memory), weight, count) == expected


def test_only_pods_of_the_canary_behind_its_service_justify_a_weight() -> None:
    memory = Memory(key="try", drained_pods=frozenset((name, "life") for name in "ab"))
    seen, kept = canary(pod("a", **MOVED), pod("b", baseline_label=False))
    chosen = replace(kept, canary_pods=("a", "b"))
    assert exposure.justified(case(seen, chosen, memory), 50, 2) == 25
    assert exposure.justified(case(seen, replace(chosen, canary_pods=("b",)), memory), 50, 1) == 0
    free, wanted = canary(pod("a"), pod("b"), **UNROUTED)
    assert exposure.justified(case(free, replace(wanted, canary_pods=("a",)), NOTHING), 50, 1) == 50
    assert exposure.justified(case(free, replace(wanted, canary_pods=("a", "b")), NOTHING), 50, 2) == 50


@pytest.mark.parametrize(
    ("changes", "kept", "expected"),
    [
        ({}, None, KEPT),
        (
            {"route": route(BASELINE)},
            KEPT,
            RouteStatus(name="users", rule="generate", original_backends=(BASELINE,)),
        ),
        ({"route": WITH_CANARY}, KEPT, KEPT),
        ({"route": WITH_CANARY}, None, None),
        ({"route": route(FOREIGN)}, KEPT, KEPT),
        ({"route": Route(found=False, backends=ORIGINAL)}, None, None),
        ({"route": None}, None, None),
        ({"spec": None}, None, None),
        ({"spec": spec(traffic={})}, None, None),
    ],
)
def test_the_users_backends_are_those_without_the_canary(
    changes: dict[str, Any], kept: RouteStatus | None, expected: RouteStatus | None
) -> None:
    assert exposure.adopt_route(case(snapshot(**changes), status(route=kept))).route == expected


def test_the_backends_for_a_weight() -> None:
    assert exposure.backends(case(snapshot(), status()), 20) is None
    assert exposure.backends(case(snapshot(), status(route=KEPT)), 0) == ORIGINAL
    out = exposure.backends(case(snapshot(), status(route=KEPT)), 20)
    assert out is not None
    assert [(b["name"], b["weight"]) for b in out] == [
        ("other", 100),
        ("chat-baseline", 160),
        ("chat-canary", 40),
    ]


def entering(
    *pods: EnginePod, chosen: list[str], memory: Memory = NOTHING, **changes: Any
) -> dict[str, tuple[bool, bool]]:
    seen = told(dict.fromkeys(chosen, ON_CANARY_PERMIT), *pods, **changes)
    kept = replace(seen.observation.status, canary_pods=tuple(chosen))
    return exposure.entering_labels(case(seen, kept, memory))


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


def test_only_labels_that_differ_are_set() -> None:
    seen = snapshot(pod("a"), pod("b"), pod("c", canary_label=True), pod("d"), pod("e", deleting=True))
    wanted = {"a": (True, False), "b": (False, False), "c": (True, False), "e": (False, False)}
    assert exposure.label_actions(seen, Targets(labels=wanted)) == [
        SetLabels(pod="b", baseline=False, canary=False),
        SetLabels(pod="c", baseline=True, canary=False),
    ]
    assert exposure.label_actions(snapshot(pod("a")), Targets(labels={"a": (True, True)})) == [
        SetLabels(pod="a", baseline=True, canary=True)
    ]


def test_the_route_is_patched_where_it_differs() -> None:
    kept, wanted = status(route=KEPT), Targets(backends=WITH_CANARY.backends)
    assert exposure.route_actions(case(snapshot(), kept), wanted) == [
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
    assert [exposure.route_actions(*each) for each in nothing] == [[]] * 6


def test_a_patch_names_the_rule_where_it_is_now() -> None:
    (patch,) = exposure.route_actions(
        case(snapshot(route=route(rule_index=3)), status(route=KEPT)), Targets(backends=())
    )
    assert (patch.rule_index, patch.backends) == (3, ())

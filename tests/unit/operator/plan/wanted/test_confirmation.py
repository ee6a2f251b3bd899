"""Tests who may reuse, who is confirmed, and what weight that justifies."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from indexcache_core.contract import Mode, State
from indexcache_core.evidence.verdict import Verdict
from indexcache_operator.api.status import PodStatus, Status
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Evidence
from indexcache_operator.plan.facts.snapshot import Snapshot
from indexcache_operator.plan.wanted import confirmation
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT, SHADOW

from tests.unit.operator.plan.build import (
    IDLE,
    MOVED,
    QUALITY,
    answer,
    at,
    case,
    pod,
    snapshot,
    spec,
    status,
    told,
)
from tests.unit.operator.plan.wanted.lives import DRAINED, LIFE, NOTHING, UNROUTED


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
    assert confirmation.may_reuse(case(snapshot(each), status(pods=kept), memory), each) is expected
    assert confirmation.may_reuse(case(snapshot(each, **UNROUTED), status(pods=kept), memory), each)


def canary(*pods: EnginePod, **changes: Any) -> tuple[Snapshot, Status]:
    """Return a look at engines that all run the reuse that the status wants of them."""
    seen = told(dict.fromkeys((p.name for p in pods), ON_CANARY_PERMIT), *pods, **changes)
    return seen, seen.observation.status


def test_an_engines_last_word_holds_as_long_as_its_permit() -> None:
    seen, kept = canary(pod("a"), pod("b", None), pod("c"))
    memory = Memory(
        key="try", permits={("a", "before"): at(9), ("b", "life"): at(8), ("gone", "life"): at(7)}
    )
    assert confirmation.note_permits(case(seen, kept, memory)).permits == {
        ("a", "life"): at(5),
        ("b", "life"): at(8),
        ("gone", "life"): at(7),
        ("c", "life"): at(5),
    }
    assert confirmation.note_permits(case(Snapshot(snapshot(spec=None).observation), kept, memory)) is memory


@pytest.mark.parametrize("change", [{"mode": Mode.SHADOW}, {"permit_remaining_seconds": None}, {"epoch": 0}])
def test_an_engine_that_does_not_do_what_it_was_told_has_no_last_word(change: dict[str, Any]) -> None:
    seen, kept = canary(pod("a"))
    state = seen.pods[0].state
    assert state is not None
    memory = Memory(key="try", permits={LIFE: at(9)})
    assert (
        confirmation.note_permits(
            case(snapshot(pod("a", state.model_copy(update=change))), kept, memory)
        ).permits
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
    assert confirmation.last_word(case(snapshot(), kept, memory), pod("a", None)) is expected
    other = status(pods=(PodStatus(name="a", confirmed="other"),))
    assert not confirmation.last_word(case(snapshot(), other, memory), pod("a", None))


ANSWERED = Memory(key="try", drained_pods=frozenset({LIFE}), answered=frozenset({LIFE}))
GUARDED = {"recall": {"min": 0.5}, **QUALITY}
PROBED: dict[str, Any] = {"spec": spec(guardrails=GUARDED)}
UNROUTED_AND_PROBED = spec(guardrails=GUARDED, traffic={})


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
    assert confirmation.confirmed(case(seen, kept, memory), seen.pods[0]) is expected
    before = replace(kept, pods=(replace(kept.pods[0], confirmed="life"),))
    assert confirmation.confirmed(case(seen, before, NOTHING), seen.pods[0])


@pytest.mark.parametrize(
    ("verdict", "changes", "expected"),
    [
        (Verdict.HOLDING, PROBED, False),
        (Verdict.CERTIFIED, PROBED, True),
        (Verdict.HOLDING, {**PROBED, "route": None, "spec": UNROUTED_AND_PROBED}, True),
    ],
)
def test_behind_a_route_probes_are_certified_before_a_pod_takes_traffic(
    verdict: Verdict, changes: dict[str, Any], expected: bool
) -> None:
    seen, kept = canary(pod("a"), **changes)
    found = Evidence(answers=(answer("quality", verdict, of_spec=PROBED["spec"]),))
    c = replace(case(seen, kept, ANSWERED), evidence=found)
    assert confirmation.confirmed(c, seen.pods[0]) is expected


def test_who_is_not_ready_or_does_not_reuse_takes_none() -> None:
    seen, kept = canary(pod("a"))
    known = replace(kept, pods=(replace(kept.pods[0], confirmed="life"),))
    state = seen.pods[0].state
    assert state is not None
    assert confirmation.confirmed(case(seen, known, DRAINED), pod("a", state))
    assert not confirmation.confirmed(case(seen, known, DRAINED), pod("a", state, ready=False))
    assert not confirmation.confirmed(
        case(seen, known, DRAINED), pod("a", state.model_copy(update={"mode": Mode.TRIPPED}))
    )
    assert not confirmation.confirmed(
        case(seen, known, DRAINED), pod("a", state.model_copy(update={"epoch": 0}))
    )
    shadow = told({"a": SHADOW}, pod("a"))
    assert not confirmation.confirmed(case(shadow, shadow.observation.status, DRAINED), shadow.pods[0])


def test_a_silent_pod_takes_what_it_took_while_its_last_word_holds() -> None:
    kept = status(pods=(PodStatus(name="a", confirmed="life"),))
    memory = Memory(key="try", permits={LIFE: at(1)})
    assert confirmation.confirmed(case(snapshot(), kept, memory), pod("a", None))
    assert not confirmation.confirmed(case(snapshot(), kept, memory), pod("a", None, ready=False))
    assert not confirmation.confirmed(case(snapshot(), kept, NOTHING), pod("a", None))


def test_who_is_confirmed_stays_so_over_a_restart_of_the_operator() -> None:
    seen, kept = canary(pod("a"), pod("b"), pod("c"), pod("d"))
    gone = PodStatus(name="gone")
    chosen = replace(kept, canary_pods=("a", "b", "gone"), pods=(*kept.pods, gone))
    memory = Memory(key="try", drained_pods=frozenset({LIFE, ("c", "life"), ("d", "life")}))
    after = confirmation.confirm(case(seen, chosen, memory))
    assert {p.name: p.confirmed for p in after.pods} == {"a": "life", "b": "", "c": "", "d": "", "gone": ""}
    unseen = snapshot(pod("a", None))
    held = replace(chosen, pods=(PodStatus(name="a", confirmed="life"),))
    assert (
        confirmation.confirm(case(unseen, held, Memory(key="try", permits={LIFE: at(1)}))).pods == held.pods
    )


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
    assert confirmation.justified(case(seen, chosen, memory), weight, count) == expected


def test_only_pods_of_the_canary_behind_its_service_justify_a_weight() -> None:
    memory = Memory(key="try", drained_pods=frozenset((name, "life") for name in "ab"))
    seen, kept = canary(pod("a", **MOVED), pod("b", baseline_label=False))
    chosen = replace(kept, canary_pods=("a", "b"))
    assert confirmation.justified(case(seen, chosen, memory), 50, 2) == 25
    assert confirmation.justified(case(seen, replace(chosen, canary_pods=("b",)), memory), 50, 1) == 0
    free, wanted = canary(pod("a"), pod("b"), **UNROUTED)
    assert confirmation.justified(case(free, replace(wanted, canary_pods=("a",)), NOTHING), 50, 1) == 50
    assert confirmation.justified(case(free, replace(wanted, canary_pods=("a", "b")), NOTHING), 50, 2) == 50

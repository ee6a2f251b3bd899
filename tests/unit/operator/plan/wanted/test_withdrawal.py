"""The way back of labels and route, and what each step of it waits for."""

from datetime import timedelta
from typing import Any

import pytest
from indexcache_core.evidence.traffic import Reached
from indexcache_operator.api.status import RouteStatus
from indexcache_operator.model import EnginePod, Route
from indexcache_operator.plan.facts.situation import Seen
from indexcache_operator.plan.wanted import withdrawal

from tests.unit.operator.plan.build import (
    FOREIGN,
    KEPT,
    ORIGINAL,
    WITH_CANARY,
    case,
    pod,
    route,
    situation,
    snapshot,
    status,
)

GONE = Route(found=False)


@pytest.mark.parametrize(
    ("kept", "seen", "expected"),
    [
        (KEPT, route(), True),
        (KEPT, WITH_CANARY, False),
        (KEPT, route(accepted_generation=4), False),
        (KEPT, GONE, True),
        (KEPT, None, True),
        (None, WITH_CANARY, True),
    ],
)
def test_the_route_is_restored_as_it_was_and_accepted(
    kept: RouteStatus | None, seen: Route | None, expected: bool
) -> None:
    assert withdrawal.restored(case(snapshot(route=seen), status(route=kept))) is expected


def test_the_canary_is_released_once_no_pod_stands_behind_its_service() -> None:
    assert withdrawal.canary_released(snapshot(pod("a"), pod("b", canary_label=True, deleting=True)))
    assert not withdrawal.canary_released(snapshot(pod("a"), pod("b", canary_label=True, ready=False)))


def seen(reached: Reached, requests: int = 0, quiet: float = 0.0, blind: bool = False) -> Seen:
    return Seen(reached=reached, requests=requests, counted_for=timedelta(seconds=quiet), blind=blind)


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        (seen(Reached.YES), True),
        (seen(Reached.NO, quiet=99), False),
        (seen(Reached.UNKNOWN, 29, 10.0), True),
        (seen(Reached.UNKNOWN, 29, 9.9), False),
        (seen(Reached.UNKNOWN, 30, 10.0), False),
        (seen(Reached.UNKNOWN, 30, 59.9), False),
        (seen(Reached.UNKNOWN, 30, 60.0), True),
        (seen(Reached.UNKNOWN, 0, 10.0, blind=True), False),
        (seen(Reached.UNKNOWN, 0, 60.0, blind=True), True),
    ],
)
def test_the_canary_is_drained_when_the_counters_say_so_or_long_say_nothing(
    counted: Seen, expected: bool
) -> None:
    assert (
        withdrawal.canary_service_drained(situation(pod(), status=status(route=KEPT), seen=counted))
        is expected
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": status()}, True),
        ({"route": GONE}, True),
        ({"route": None}, True),
        ({"route": WITH_CANARY}, False),
        ({"route": route(accepted_generation=4)}, False),
    ],
)
def test_without_a_route_nothing_is_to_drain_and_one_not_restored_is_not_drained(
    changes: dict[str, Any], expected: bool
) -> None:
    kept = {"status": status(route=KEPT), "seen": seen(Reached.YES if not expected else Reached.NO, quiet=99)}
    assert withdrawal.canary_service_drained(situation(pod(), **{**kept, **changes})) is expected


BOTH: dict[str, Any] = {"baseline_label": False, "canary_label": True}


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([pod("a"), pod("b", **BOTH), pod("c", **BOTH)], "c"),
        ([pod("a"), pod("b", **BOTH), pod("c", None, **BOTH)], "b"),
        ([pod("a"), pod("b", **BOTH), pod("c", ready=False, **BOTH)], "b"),
        ([pod("a"), pod("b", canary_label=True)], None),
        ([pod("a"), pod("b", baseline_label=False)], None),
        ([pod("b", **BOTH), pod("c", **BOTH)], None),
        ([pod("a", ready=False), pod("b", **BOTH)], None),
    ],
)
def test_the_last_to_return_stands_behind_the_canarys_service_alone(
    pods: list[EnginePod], expected: str | None
) -> None:
    assert withdrawal.sentinel(snapshot(*pods)) == expected


def labels(
    *pods: EnginePod, reached: Reached = Reached.YES, at_route: Route | None = None
) -> dict[str, tuple[bool, bool]]:
    c = situation(*pods, status=status(route=KEPT), route=at_route or route(), seen=seen(reached))
    return withdrawal.returning_labels(c)


def test_all_return_at_once_but_for_one_that_watches_until_the_canary_is_drained() -> None:
    pods = [pod("a"), pod("b", **BOTH), pod("c", **BOTH), pod("d", baseline_label=False)]
    assert labels(*pods, reached=Reached.UNKNOWN) == {
        "a": (True, False),
        "b": (True, True),
        "c": (False, True),
        "d": (True, False),
    }
    assert labels(*pods, reached=Reached.YES) == dict.fromkeys("abcd", (True, False))


def test_a_route_that_names_the_canary_keeps_its_labels() -> None:
    kept = status(route=RouteStatus(name="users", rule="generate", original_backends=WITH_CANARY.backends))
    c = situation(pod("a"), pod("b", **BOTH), status=kept, route=WITH_CANARY, seen=seen(Reached.YES))
    assert withdrawal.returning_labels(c) == {"a": (True, False), "b": (False, True)}


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([pod("a"), pod("b", **BOTH)], ORIGINAL),
        ([pod("a", baseline_label=False), pod("b", **BOTH)], None),
        ([pod("a", ready=False), pod("b", **BOTH)], None),
        ([pod("a", baseline_label=False)], ORIGINAL),
        ([pod("a", baseline_label=False), pod("b", ready=False, **BOTH)], ORIGINAL),
        ([], ORIGINAL),
    ],
)
def test_the_route_returns_once_a_pod_is_behind_the_baselines_service_or_none_behind_the_canarys(
    pods: list[EnginePod], expected: object
) -> None:
    assert (
        withdrawal.returning_backends(situation(*pods, status=status(route=KEPT), route=WITH_CANARY))
        == expected
    )


def test_what_is_not_ours_is_given_back_as_it_was() -> None:
    kept = RouteStatus(
        name="users", rule="generate", original_backends=({**FOREIGN, "weight": 9}, ORIGINAL[1])
    )
    assert withdrawal.returning_backends(situation(pod(), status=status(route=kept))) == tuple(
        kept.original_backends
    )

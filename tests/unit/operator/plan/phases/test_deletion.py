"""Deletion: what is still waited for, and when it no longer is."""

from datetime import timedelta
from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_operator.api.status import Phase, PodStatus
from indexcache_operator.model import Action, DeleteWorkload, EnginePod, ReleaseWorkload, RemoveFinalizer
from indexcache_operator.plan.phases.deletion import PATIENCE, actions, retained

from tests.unit.operator.plan.build import KEPT, WITH_CANARY, at, engine, intent, pod, situation, spec, status

RETAIN = spec(deletionPolicy="Retain")
GONE: list[Action] = [DeleteWorkload(), RemoveFinalizer()]
RELEASED: list[Action] = [ReleaseWorkload(), RemoveFinalizer()]
ON = engine(Mode.ON, epoch=1)
WAITED = PATIENCE.total_seconds()
LAPSING = [PodStatus(name="a", permit=timedelta(hours=1))]


@pytest.mark.parametrize(("asked", "expected"), [(spec(), False), (RETAIN, True), (None, True)])
def test_engines_stay_if_so_asked_or_if_nobody_knows(asked: Any, expected: bool) -> None:
    assert retained(situation(spec=asked)) is expected


def after(seconds: float, *pods: EnginePod, asked: Any = None, **changes: Any) -> list[Action]:
    """Return what is done so long after the fallback began."""
    kept = status(Phase.FALLING_BACK, fallback=intent("Deleted", since=-seconds), **changes.pop("kept", {}))
    return actions(situation(*pods, spec=asked or spec(), status=kept, deleting=True, **changes))


def test_once_all_is_back_the_policy_decides() -> None:
    assert after(1, pod()) == GONE
    assert after(1, pod(), asked=RETAIN) == RELEASED
    assert after(1) == GONE


def test_an_engine_under_reuse_is_waited_for_however_long() -> None:
    assert after(1, pod("a", ON)) == []
    assert after(WAITED, pod("a", ON)) == []


@pytest.mark.parametrize(
    ("seconds", "asked", "expected"),
    [
        (WAITED - 0.1, spec(), []),
        (WAITED, spec(), GONE),
        (WAITED, RETAIN, []),
        (3606, RETAIN, RELEASED),
    ],
)
def test_a_silent_engine_is_waited_for_until_its_permit_lapsed_or_it_goes_anyway(
    seconds: float, asked: Any, expected: list[Action]
) -> None:
    assert after(seconds, pod("a", None), asked=asked, kept={"pods": LAPSING}) == expected


def test_a_silent_engine_hides_no_other() -> None:
    assert after(WAITED, pod("a", None), pod("b", ON), kept={"pods": LAPSING}) == []


@pytest.mark.parametrize(("seconds", "expected"), [(WAITED - 0.1, []), (WAITED, GONE)])
def test_a_route_is_waited_for_with_patience(seconds: float, expected: list[Action]) -> None:
    assert after(seconds, pod(), route=WITH_CANARY, kept={"route": KEPT}) == expected
    assert after(seconds, pod(canary_label=True)) == expected


def test_without_an_intent_time_counts_from_the_phases_beginning() -> None:
    def waited(seconds: float) -> list[Action]:
        kept = status(Phase.FALLING_BACK, phase_started_at=at(-seconds))
        return actions(situation(pod(canary_label=True), status=kept, deleting=True))

    assert waited(WAITED) == GONE
    assert waited(WAITED - 1) == []

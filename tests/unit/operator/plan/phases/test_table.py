"""The table of phases."""

from datetime import timedelta

import pytest
from indexcache_operator.api.status import Phase
from indexcache_operator.plan.phases import canary, check, fallback, promote, shadow
from indexcache_operator.plan.phases.table import TABLE, followers
from indexcache_operator.plan.phases.triggers import ENGAGED


def test_every_phase_has_a_row() -> None:
    assert set(TABLE) == set(Phase)


@pytest.mark.parametrize(
    ("phase", "decide", "targets", "measures"),
    [
        (Phase.PENDING, check.decide, check.targets, False),
        (Phase.CHECKING, check.decide, check.targets, False),
        (Phase.FAILED, check.decide, check.targets, False),
        (Phase.SHADOWING, shadow.decide, shadow.targets, True),
        (Phase.CANARY, canary.decide, canary.targets, True),
        (Phase.PROMOTING, promote.decide, promote.promoting_targets, True),
        (Phase.PROMOTED, promote.watch, promote.promoted_targets, True),
        (Phase.FALLING_BACK, fallback.decide, fallback.targets, False),
        (Phase.FELL_BACK, fallback.rest, check.targets, False),
    ],
)
def test_each_row(phase: Phase, decide: object, targets: object, measures: bool) -> None:
    row = TABLE[phase]
    assert (row.decide, row.targets, row.measures) == (decide, targets, measures)


def test_what_measures_is_what_has_told_engines_something() -> None:
    assert {phase for phase, row in TABLE.items() if row.measures} == ENGAGED


def test_where_weights_move_the_next_look_is_soon() -> None:
    soon = {p for p, row in TABLE.items() if row.look_again <= timedelta(seconds=0.5)}
    assert soon == ENGAGED - {Phase.PROMOTED} | {Phase.FALLING_BACK}
    assert max(row.look_again for row in TABLE.values()) <= timedelta(seconds=5)


def test_a_phase_may_stay_end_by_a_trigger_or_lead_where_its_row_says() -> None:
    assert followers(Phase.PROMOTED) == {Phase.PROMOTED, Phase.FALLING_BACK}
    assert followers(Phase.CHECKING) == {
        Phase.CHECKING,
        Phase.SHADOWING,
        Phase.FAILED,
        Phase.FALLING_BACK,
    }

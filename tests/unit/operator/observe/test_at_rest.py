"""Tests whether a rollout may be looked at as its watch told it last."""

from typing import Any

import pytest
from indexcache_operator.api.status import Phase
from indexcache_operator.observe.rollout import at_rest


def raw(phase: str, observed: int = 3, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"generation": 3, **metadata},
        "status": {"phase": phase, "observedGeneration": observed},
    }


@pytest.mark.parametrize("phase", list(Phase))
def test_only_one_that_waits_for_somebody_is_at_rest(phase: Phase) -> None:
    assert at_rest(raw(phase.value)) is (phase in (Phase.PROMOTED, Phase.FELL_BACK, Phase.FAILED))


@pytest.mark.parametrize(
    "rollout",
    [
        raw("Promoted", observed=2),  # the spec has changed
        raw("Promoted", deletionTimestamp="2026-01-01T00:00:00Z"),
        {"metadata": {"generation": 1}},
    ],
)
def test_one_with_something_to_do_is_not(rollout: dict[str, Any]) -> None:
    assert not at_rest(rollout)

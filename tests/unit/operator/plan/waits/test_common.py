"""Tests what shadow and canary may both wait for."""

from typing import Any

import pytest
from indexcache_operator.api.status import Origin, WaitStatus
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.waits.common import paused, trouble

from tests.unit.operator.plan.build import pod, situation, spec


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        (
            {"spec": spec(paused=True)},
            WaitStatus(
                origin=Origin.USER, reason="Paused", message="paused", way_out="set spec.paused to false"
            ),
        ),
        (
            {"unknown_fields": ("spec.x",)},
            WaitStatus(
                origin=Origin.USER,
                reason="UnknownFields",
                message="paused: this operator's version doesn't know spec.x; upgrade it, or remove what it "
                "doesn't know",
            ),
        ),
    ],
)
def test_who_holds_it_up(changes: dict[str, Any], expected: WaitStatus | None) -> None:
    assert paused(situation(**changes)) == expected


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (pod("a"), ""),
        (pod("a", ready=False), "pod a isn't ready"),
        (pod("a", ready=False, problem="Evicted"), "pod a isn't ready: Evicted"),
        (pod("a", None), "pod a can't be asked"),
        (pod("a", None, error="timeout"), "pod a can't be asked: timeout"),
    ],
)
def test_what_is_wrong_with_a_pod(found: EnginePod, words: str) -> None:
    assert trouble(found) == words

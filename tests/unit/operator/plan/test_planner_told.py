"""Tests what a plan writes and tells of a look: whose status it is, the reach, conditions, evidence."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Flags, Identity, Mode, Requests, Series, State, Work
from indexcache_core.histogram import of
from indexcache_operator.api.status import CapStatus, Phase, ReachStatus, Status
from indexcache_operator.plan import planner
from indexcache_operator.plan.facts.reach import UNBOUNDED
from indexcache_operator.plan.planner import plan
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT, SHADOW

from tests.unit.operator.plan.build import (
    KEPT,
    MOVED,
    REVISION,
    SITES,
    WITH_CANARY,
    at,
    engine,
    granted,
    pod,
    status,
    told,
)
from tests.unit.operator.plan.planned import kinds, planned


def measuring(**recall: float) -> State:
    """Return an engine in shadow that measured a thousand requests of each of these buckets of context."""
    series = tuple(
        Series.model_validate(
            {
                "site": None,
                "context": int(bucket.removeprefix("at")),
                "work": work,
                "mode": Mode.SHADOW,
                "recall": of([value] * 1000),
            }
        )
        for bucket, value in recall.items()
        for work in Work
    )
    return engine(
        Mode.SHADOW,
        observed=series,
        identity=Identity(revision=REVISION),
        desired=Flags(mode=Mode.SHADOW, pattern="FSFS"),
        sites=SITES,
        requests=Requests(recent=(5,) * 9, recent_work=(5,) * 9, recent_decoding=(5,) * 9),
    )


def test_the_status_says_whose_it_is_and_which_plugin_its_engines_get() -> None:
    first = planned(pod(), status=status(Phase.SHADOWING), uid="here", pinned_runtime="runtime:1").status
    assert (first.uid, first.runtime) == ("here", "runtime:1")
    kept = status(Phase.SHADOWING, runtime="runtime:1")
    assert planned(pod(), status=kept, pinned_runtime="runtime:2").status.runtime == "runtime:1"


@pytest.mark.parametrize(
    ("phase", "kept", "expected"),
    [
        (Phase.SHADOWING, "", "sha-1"),
        (Phase.PROMOTED, "", "sha-1"),
        (Phase.SHADOWING, "sha-1", "sha-1"),
        (Phase.CHECKING, "", ""),
        (Phase.FELL_BACK, "", ""),
    ],
)
def test_the_checkpoint_is_written_once_engines_are_told_something(
    phase: Phase, kept: str, expected: str
) -> None:
    found = planned(pod("a", engine(checkpoint="sha-1")), status=status(phase, checkpoint=kept))
    assert found.status.checkpoint == expected


def test_a_checkpoint_that_was_written_stays_while_no_engine_can_be_asked() -> None:
    found = planned(pod("a", None), status=status(Phase.SHADOWING, checkpoint="sha-1"))
    assert found.status.checkpoint == "sha-1"


def test_a_reach_is_granted_in_each_look() -> None:
    promoted = planned(pod(), status=status(Phase.PROMOTED, reach=None)).status.reach
    assert promoted is not None
    assert promoted.tokens == UNBOUNDED
    shadow = planned(pod(), status=status(Phase.SHADOWING, reach=granted(64))).status.reach
    assert shadow is not None
    assert (shadow.tokens, shadow.canary_tokens) == (0, 0)


def test_evidence_against_longer_contexts_caps_the_reach() -> None:
    found = planned(pod("a", measuring(at3=0.9, at5=0.0)), status=status(Phase.SHADOWING)).status
    assert found.phase is Phase.SHADOWING
    assert found.reach is not None
    assert found.reach.cap is not None
    assert (found.reach.cap.tokens, found.reach.cap.cause) == (256, "RecallBelowThreshold")


def test_conditions_are_those_of_the_status_that_is_written() -> None:
    found = planned(pod(), status=status(Phase.SHADOWING)).status
    (waits,) = (c for c in found.conditions if c.type == "Waiting")
    assert found.waiting is not None
    assert (waits.status, waits.reason) == ("True", found.waiting.reason)


@pytest.mark.parametrize("phase", [Phase.SHADOWING, Phase.PROMOTED])
def test_alerts_are_given_evidence_where_something_is_measured(phase: Phase) -> None:
    found = planned(pod("a", measuring(at3=0.9)), status=status(phase))
    assert [row.guardrail for row in found.evidence] == ["recall"]


@pytest.mark.parametrize("phase", [Phase.CHECKING, Phase.FALLING_BACK, Phase.FELL_BACK])
def test_alerts_are_given_none_elsewhere(phase: Phase) -> None:
    assert planned(pod("a", measuring(at3=0.9)), status=status(phase)).evidence == ()


def test_rates_and_permits_of_a_look_are_remembered() -> None:
    pods = (pod("a", **MOVED), pod("b"))
    kept = status(Phase.CANARY, canary_pods=("a",), route=KEPT)
    seen = told({"a": ON_CANARY_PERMIT, "b": SHADOW}, *pods, status=kept, route=WITH_CANARY).observation
    found = plan(seen).memory
    assert found.permits == {("a", "life"): at(5)}
    assert found.pace is not None
    assert found.pace.place == "Canary/"


CAP = CapStatus(tokens=64, cause="RecallBelowThreshold", message="bad")


@pytest.mark.parametrize(
    ("before", "after", "is_relied_on"),
    [
        (granted(32, 64), granted(32, 128), True),
        (granted(32, 64), granted(64, 64), True),
        (granted(32, 64), granted(32, 64, ahead="a"), True),
        (granted(32, 64), granted(32, 64, cap=CAP), True),
        (granted(32, 64), None, True),
        (None, None, False),
        (None, ReachStatus(), True),  # none is that of a release that knew no reach: no bound
        (granted(32, 64), granted(32, 64, share=0.5, message="said"), False),
    ],
)
def test_what_of_a_reach_was_decided_is_relied_on(before: Any, after: Any, is_relied_on: bool) -> None:
    relied_on = [planner._relied_on(status(reach=each)) for each in (before, after)]
    assert (relied_on[0] != relied_on[1]) is is_relied_on


def test_a_command_that_is_ignored_is_written_at_once_and_once() -> None:
    seen = told({"a": SHADOW}, pod("a"), status=status(Phase.SHADOWING)).observation
    first = plan(seen)
    quiet = replace(seen, status=first.status)
    assert "PersistStatus" not in kinds(plan(quiet, first.memory))
    mistyped = replace(quiet, annotations={"indexcache.dev/kill": "ture"})
    second = plan(mistyped, first.memory)
    assert "PersistStatus" in kinds(second)
    again = plan(replace(mistyped, status=second.status), second.memory)
    assert "PersistStatus" not in kinds(again)


def test_of_a_status_that_says_nothing_nothing_is_relied_on() -> None:
    assert planner._relied_on(Status()) == planner._relied_on(replace(Status(), message="said"))

"""Tests how the reach is shown."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_operator.api.status import CapStatus, Phase, ReachStatus
from indexcache_operator.plan.facts.reach import UNBOUNDED
from indexcache_operator.plan.facts.situation import Evidence
from indexcache_operator.plan.report import reached

from tests.unit.operator.plan.build import granted, pod, reaches, situation, status

WORK = (0.0, 10.0, 20.0, 60.0, 10.0, 0.0, 0.0, 0.0, 0.0)
CAP = CapStatus(tokens=64, cause="RecallBelowThreshold", message="bad")


@pytest.mark.parametrize(
    ("phase", "kept", "share", "beyond", "summary"),
    [
        (Phase.SHADOWING, None, 0.9, 0.1, "-"),
        (Phase.CANARY, granted(32, 64), 0.3, 0.6, "64"),
        (Phase.PROMOTED, granted(32, 64), 0.1, 0.2, "32"),
        (Phase.PROMOTED, granted(UNBOUNDED), 1.0, None, "all"),
    ],
)
def test_it_is_shown_of_those_who_may_meet_reuse(
    phase: Phase, kept: Any, share: float, beyond: float | None, summary: str
) -> None:
    found = Evidence(reaches=reaches(128, 32, work=WORK))
    shown = reached.shown(situation(pod(), status=status(phase, reach=kept), evidence=found))
    assert shown is not None
    assert (shown.share, shown.beyond_share, shown.summary) == (share, beyond, summary)
    assert shown.message.startswith("reuse")
    assert (shown.tokens, shown.canary_tokens) == ((kept.tokens, kept.canary_tokens) if kept else (0, 0))


def test_where_nothing_is_measured_it_stays_as_it_is() -> None:
    kept = ReachStatus(cap=CAP)
    assert reached.shown(situation(pod(), status=status(Phase.FELL_BACK, reach=kept))) == kept


def test_figures_stay_until_they_are_written_anew() -> None:
    before = granted(32, share=0.5, beyond_share=0.1, message="said", summary="32")
    assert reached.as_before(granted(64), before) == replace(before, tokens=64, canary_tokens=64)
    assert reached.as_before(granted(64), None) == granted(64)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, granted(32, 64), []),
        (granted(32, 64), granted(32, 64), []),
        (granted(32, 64), granted(32, 64, share=0.5), []),
        (granted(32, 64), granted(32, 128), [("ReachGrew", "the canary's pods grows from 64 to 128")]),
        (granted(32, 64), granted(64, 64), [("ReachGrew", "all pods grows from 32 to 64")]),
        (granted(32, 2048), granted(32, UNBOUNDED), [("ReachGrew", "from 2K to all")]),
        (None, ReachStatus(cap=CAP), [("ReachCapped", "up to 64 tokens: bad; nothing need be done")]),
        (ReachStatus(cap=CAP), ReachStatus(cap=CAP), []),
        (ReachStatus(cap=CAP), ReachStatus(cap=replace(CAP, tokens=32)), [("ReachCapped", "32 tokens")]),
        (granted(32, 64), None, []),
    ],
)
def test_events_tell_of_growth_and_of_a_cap(before: Any, after: Any, expected: list[tuple[str, str]]) -> None:
    found = list(reached.events(status(reach=before), status(reach=after)))
    assert [event.reason for event in found] == [reason for reason, _ in expected]
    for event, (reason, words) in zip(found, expected, strict=True):
        assert words in event.message
        assert event.type == ("Warning" if reason == "ReachCapped" else "Normal")


def test_the_pod_that_goes_ahead_is_named() -> None:
    before, after = (status(Phase.PROMOTED, reach=granted(32, tokens)) for tokens in (64, 128))
    (event,) = reached.events(before, after)
    assert "the pod that goes ahead" in event.message


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, None, False),
        (granted(32, 64), granted(32, 64, share=0.5, message="said"), False),
        (granted(32, 64), granted(64, 64), True),
        (granted(32, 64), granted(32, 128), True),
        (granted(32, 64), granted(32, 64, ahead="a"), True),
        (granted(32, 64), granted(32, 64, cap=CAP), True),
        (granted(32, 64), None, True),
    ],
)
def test_figures_are_written_at_once_where_pods_are_granted_another_reach(
    before: Any, after: Any, expected: bool
) -> None:
    assert reached.changed(status(reach=before), status(reach=after)) is expected


def test_shares_are_shown_in_whole_percents_and_not_where_they_are_unknown() -> None:
    thirds = (0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    kept = status(Phase.PROMOTED, reach=granted(64))
    for work, share, beyond in ((thirds, 0.67, 0.33), ((), None, None)):
        found = Evidence(reaches=reaches(64, 64, work=work))
        shown = reached.shown(situation(pod(), status=kept, evidence=found))
        assert shown is not None
        assert (shown.share, shown.beyond_share) == (share, beyond)


def test_an_event_is_cut_to_what_the_api_takes() -> None:
    long = ReachStatus(cap=replace(CAP, message="x" * 2000))
    (event,) = reached.events(status(), status(reach=long))
    assert len(event.message) == 1000

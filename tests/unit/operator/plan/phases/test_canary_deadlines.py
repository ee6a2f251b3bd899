"""Tests when a step of the canary is out of time, and whose doing that is."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Work
from indexcache_core.evidence.traffic import Reached
from indexcache_core.histogram import of
from indexcache_operator.api.status import Origin, Phase, Status, StepStatus
from indexcache_operator.plan.facts.endings import ending
from indexcache_operator.plan.facts.memory import TestKey
from indexcache_operator.plan.facts.situation import Evidence
from indexcache_operator.plan.phases import canary

from tests.unit.operator.plan.build import (
    WANTED,
    answer,
    at,
    judgement,
    pace,
    spec,
)
from tests.unit.operator.plan.phases.exposing import HOLDING, TIMED, exposing

LATE = StepStatus(index=0, weight=20, started_at=at(-120), reached_at=at(-1))
UNREACHED = replace(LATE, reached_at=None)


@pytest.mark.parametrize(
    ("change", "cause", "words"),
    [
        ({"step": UNREACHED, "reached": Reached.UNKNOWN}, "TooLittleTraffic", "more requests tell whether"),
        ({"step": UNREACHED, "reached": Reached.NO}, "PlatformNotReady", "requests don't come by weight 20"),
        (
            {"step": UNREACHED, "reached": Reached.UNKNOWN, "came": 999},
            "PlatformNotReady",
            "though 999 requests",
        ),
        ({"step": LATE, "histogram": of([0.7] * 4)}, "TooLittleTraffic", "more observations of recall"),
        ({"step": LATE, "histogram": of([0.4] * 90)}, "Undecided", "too near its threshold"),
    ],
)
def test_out_of_time_it_is_held_and_told_whose_doing_that_is(
    change: dict[str, Any], cause: str, words: str
) -> None:
    def late(**more: Any) -> Status:
        changes = {**change, **more}
        came, histogram = changes.pop("came", 3), changes.pop("histogram", of([0.7] * 4))
        c = exposing(verdict=HOLDING, **changes)
        found = {TestKey("recall", None, 3, Work.PREFILL): judgement(HOLDING, histogram)}
        memory = replace(c.memory, pace=pace(came))
        return canary.decide(
            replace(
                c,
                memory=memory,
                evidence=Evidence(answers=(answer("recall", HOLDING, found),), wanted=WANTED),
            )
        )

    after = late()
    assert after.fallback is not None
    assert (after.phase, after.fallback.cause, after.fallback.origin) == (
        Phase.FALLING_BACK,
        cause,
        ending(cause).origin,
    )
    assert words in after.fallback.message
    assert after.hold is not None
    assert (after.hold.cause, after.hold.not_before) == (cause, at(120))
    assert (after.hold.requests_per_minute_needed is not None) is (cause == "TooLittleTraffic")
    assert late(step=replace(change["step"], started_at=at(-119.9))).phase is Phase.CANARY
    assert late(spec=spec(paused=True)).phase is Phase.CANARY


def test_a_deadline_waits_until_it_can_be_told_whose_doing_it_is() -> None:
    c = exposing(verdict=HOLDING, step=UNREACHED, reached=Reached.UNKNOWN)
    assert canary.decide(c).phase is Phase.CANARY
    young = replace(c, memory=replace(c.memory, pace=pace(3, minutes=0.4)))
    assert canary.decide(young).phase is Phase.CANARY


def test_a_step_that_lasts_longer_than_its_deadline_is_the_users_wish() -> None:
    asked = spec(strategy={**TIMED, "steps": [{"weight": 20, "minDuration": "10m"}, {"weight": 50}]})
    c = exposing(step=LATE, spec=asked)
    assert canary.decide(replace(c, memory=replace(c.memory, pace=pace(99)))).phase is Phase.CANARY


def test_a_canary_whose_guardrails_are_taken_away_is_held_too() -> None:
    c = exposing(step=LATE, spec=spec(guardrails={}))
    c = replace(c, memory=replace(c.memory, pace=pace(99)), evidence=Evidence())
    after = canary.decide(c)
    assert after.fallback is not None
    assert (after.fallback.cause, after.fallback.origin) == ("NothingActs", Origin.USER)


@pytest.mark.parametrize(
    ("requests", "index", "words"),
    [
        (30, 0, "step 1 isn't over within 2m: about "),
        (30, 0, "; 3 requests a minute came, about "),
        (0, 0, "; 0 requests a minute came, about "),
        (30, 1, "step 2 isn't over within 2m: "),
    ],
)
def test_what_is_told_of_a_late_step_has_its_number_its_deadline_and_the_rates(
    requests: int, index: int, words: str
) -> None:
    late = replace(UNREACHED, index=index)
    c = exposing(verdict=HOLDING, step=late, reached=Reached.UNKNOWN)
    after = canary.decide(replace(c, memory=replace(c.memory, pace=pace(requests))))
    assert after.fallback is not None
    assert words in after.fallback.message
    if index == 0:
        assert after.fallback.message.endswith(" are needed")


def test_a_late_step_of_which_nobody_can_say_what_it_waits_for_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(canary, "waiting", lambda situation: None)
    c = exposing(verdict=HOLDING, step=LATE)
    assert canary.decide(replace(c, memory=replace(c.memory, pace=pace(99)))).phase is Phase.CANARY

"""Tests when people are told of an engine that is silent, and when it is told as it was."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_operator.api.status import Phase
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.planner import plan
from indexcache_operator.plan.report import columns, due, silence
from indexcache_operator.plan.report.conditions import conditions
from indexcache_operator.plan.wanted import flags
from indexcache_operator.plan.wanted.flags import ON_PROMOTED_PERMIT

from tests.unit.operator.plan.build import NOW, at, engine, pod, situation, spec, status, told

SILENT = pod("a", None, silent=True, error="timeout")
DAY = 86_400.0


def case(
    lost: EnginePod = SILENT,
    *,
    since: float | None = 0.0,
    phase: Phase = Phase.PROMOTED,
    state: str = "on",
    permit: float = DAY,
) -> Situation:
    """Return a look at an engine that has been silent for so many seconds; None: it never was before."""
    kept = [{"name": "a", "desired": "on-promoted-1", "permitSeconds": permit, "state": state}]
    memory = Memory(key="", silent={} if since is None else {"a": at(-since)})
    return situation(lost, status=status(phase, pods=kept), memory=memory)


def told_as(c: Situation) -> tuple[str, str, int]:
    """Return what conditions say of engines that answer and of the baseline, and the share under reuse."""
    found = {condition.type: condition.status for condition in conditions(c)}
    return found["EnginesAnswer"], found["BaselineActive"], columns.reuse(c)


def test_a_silence_is_noted_from_its_first_look_until_its_end() -> None:
    first = silence.note(case(since=None))
    assert first.silent == {"a": NOW}
    assert silence.note(case(since=30.0)).silent == {"a": at(-30)}
    for heard in (pod("a"), pod("a", None, error="401"), pod("b")):
        assert silence.note(case(heard, since=30.0)).silent == {}


@pytest.mark.parametrize("since", [0.0, 119.0])
def test_a_short_silence_is_told_as_it_was(since: float) -> None:
    c = case(since=since)
    assert silence.untold(c, SILENT)
    assert told_as(c) == told_as(case(pod("a", engine(Mode.ON)))) == ("True", "False", 100)
    assert columns.reason(c) == "Certified"


def test_a_long_one_is_told() -> None:
    c = case(since=silence.LASTS.total_seconds())
    assert not silence.untold(c, SILENT)
    assert told_as(c) == ("False", "Unknown", 0)
    assert columns.reason(c) == "pod a can't be asked: timeout"


@pytest.mark.parametrize(
    "changes",
    [
        {"since": None},
        {"state": "unreachable"},  # told already
        {"state": "unknown"},
        {"state": "off"},
        {"permit": 0.0},
        {"lost": replace(SILENT, silent=False)},  # it refuses
        {"lost": replace(SILENT, ready=False)},
        {"lost": replace(SILENT, deleting=True)},
        *({"phase": phase} for phase in Phase if phase is not Phase.PROMOTED),
    ],
)
def test_anything_else_is_told_at_once(changes: dict[str, Any]) -> None:
    c = case(**changes)
    (found,) = c.snapshot.observation.pods
    assert not silence.untold(c, found)
    assert not silence.is_on(c, found)


@pytest.mark.parametrize("permit", [5.0, 60.0, 600.0, DAY])
def test_a_silence_is_told_before_its_permit_can_lapse(permit: float) -> None:
    """The worst: heard just before a renewal was due, and each look as late as one may be."""
    before = case(pod("a", engine(Mode.ON)), permit=permit)
    looks = due.latest(before, timedelta(seconds=0.1)).total_seconds()
    left = flags.RENEW_BELOW * permit - looks  # at the first look that it is silent in
    since = 0.0
    while silence.untold(case(since=since, permit=permit), SILENT):
        since += looks
    assert left - since >= -1e-6


def test_one_that_misses_looks_has_nothing_written_and_one_that_stays_silent_once() -> None:
    names, asked = ("a", "b", "c"), spec(fallback={"permit": {"promoted": "12h"}})
    engines = [pod(name, engine(Mode.ON)) for name in names]
    kept = status(Phase.PROMOTED)
    seen = told(dict.fromkeys(names, ON_PROMOTED_PERMIT), *engines, status=kept, spec=asked).observation
    first = plan(seen)
    seen, memory = replace(seen, status=first.status), first.memory
    quiet = tuple(replace(SILENT, name="b") if p.name == "b" else p for p in seen.pods)
    written: list[int] = []
    for seconds in range(70, 430, 40):  # evidence is old by then
        pods = seen.pods if seconds == 150 else quiet
        found = plan(replace(seen, now=at(seconds), pods=pods), memory)
        assert found.actions == ()
        if found.status != seen.status and seconds > 70:
            written.append(seconds)
        seen, memory = replace(seen, status=found.status), found.memory
    assert written == [310]  # silent from 190 on
    assert [p.state for p in seen.status.pods] == ["on", "unreachable", "on"]

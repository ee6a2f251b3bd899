"""Tests that commands by annotation are obeyed, or said to be none, by the plan as a whole."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from indexcache_core.contract import Mode
from indexcache_operator.api.status import Phase, Rejected
from indexcache_operator.model import Event, PersistStatus
from indexcache_operator.plan import plan
from indexcache_operator.plan.facts.revision import KILL, RETRY
from indexcache_operator.plan.report import commands

from tests.unit.operator.plan.build import REVISION, at, observation, pod, spec, status
from tests.unit.operator.plan.world import World, good

REJECTED = Rejected(revision=REVISION, reason="Killed", at=at(-60))
ENGAGED = [Phase.SHADOWING, Phase.CANARY, Phase.PROMOTING, Phase.PROMOTED]


@pytest.mark.parametrize("phase", ENGAGED)
@pytest.mark.parametrize("value", ["true", "True", " true\n", "TRUE"])
def test_true_kills_whatever_runs(phase: Phase, value: str) -> None:
    world = World(recall=good).until(phase)
    world.annotations = {KILL: value}
    world.until(Phase.FELL_BACK)
    assert world.status.fallback is not None
    assert (world.status.fallback.cause, world.modes()) == ("Killed", {Mode.OFF})
    assert commands.standing(world.status) is None


def test_while_true_stands_nothing_is_tried_and_afterwards_it_is() -> None:
    world = World(recall=good).until(Phase.CANARY)
    world.annotations = {KILL: "true"}
    world.until(Phase.FELL_BACK)
    world.spec = spec(indexCache={"pattern": "FFFS", "minContextTokens": 0})
    world.until(Phase.FAILED)
    assert "annotation indexcache.dev/kill stops revision" in world.status.message
    for _ in range(10):
        world.snapshot()
    assert (world.status.phase, world.modes()) == (Phase.FAILED, {Mode.OFF})
    world.annotations = {}
    world.until(Phase.PROMOTED)


def test_an_event_comes_once_and_again_when_something_else_is_ignored() -> None:
    world = World(recall=good).until(Phase.CANARY)
    said: list[str] = []
    for value in ("ture", "ture", "ture", "yes", "yes"):
        world.annotations = {KILL: value}
        before = len(world.done)
        world.snapshot()
        said += [a.message for a in world.done[before:] if isinstance(a, Event) and a.reason == "KillIgnored"]
    assert [message.split(",")[0].split("found ")[1] for message in said] == ["'ture'", "'yes'"]
    assert world.status.phase is Phase.CANARY
    world.annotations = {}
    world.snapshot()
    assert commands.standing(world.status) is None


def test_an_ignored_command_is_written_and_told_before_anything_that_may_fail() -> None:
    made = plan(
        observation(pod(baseline_label=False), status=status(Phase.SHADOWING), annotations={KILL: "ture"})
    )
    kinds = [type(action) for action in made.actions]
    assert kinds[:2] == [PersistStatus, Event]
    assert len(kinds) > 2


def test_an_ignored_command_that_stands_writes_nothing() -> None:
    world = World(recall=good).until(Phase.PROMOTED)
    world.annotations = {KILL: "ture"}
    for _ in range(5):
        world.snapshot()
    writes = world.writes
    world.rate = 0
    for _ in range(5):
        world.snapshot()
    assert world.writes == writes


TEXT = st.text() | st.sampled_from(["true", REVISION, f"{REVISION}/2", "True "])


@given(
    st.sampled_from(list(Phase)),
    st.dictionaries(st.sampled_from([KILL, RETRY, "indexcache.dev/promote"]), TEXT),
)
@example(Phase.CANARY, {KILL: "true\n"})
@example(Phase.CANARY, {KILL: "ſtrue"})
def test_a_command_is_never_silent(phase: Phase, annotations: dict[str, str]) -> None:
    kept = replace(
        status(phase, epoch=1), rejected=(REJECTED,) if phase in (Phase.FELL_BACK, Phase.FAILED) else ()
    )
    made = plan(observation(pod(), status=kept, annotations=annotations))
    ignored = commands.standing(made.status)
    obeyed = (
        made.status.fallback is not None
        or made.status.phase is Phase.FAILED
        or phase in (Phase.FALLING_BACK, Phase.FELL_BACK)
    )
    if KILL in annotations:
        assert obeyed or (ignored is not None and ignored.reason == "KillIgnored")
    if "indexcache.dev/promote" in annotations:
        assert ignored is not None
    warned = [a for a in made.actions if isinstance(a, Event) and ignored and a.reason == ignored.reason]
    assert len(warned) == (ignored is not None)

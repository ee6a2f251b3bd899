"""Commands by annotation: each is obeyed, or said to be none."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from indexcache_core.contract import Mode
from indexcache_operator.api.status import Phase, Rejected, Status
from indexcache_operator.model import Event, PersistStatus
from indexcache_operator.plan import plan
from indexcache_operator.plan.facts.revision import KILL, RETRY
from indexcache_operator.plan.report import commands
from indexcache_operator.plan.report.conditions import conditions

from tests.unit.operator.plan.build import REVISION, at, observation, pod, situation, spec, status
from tests.unit.operator.plan.world import World, good

REJECTED = Rejected(revision=REVISION, reason="Killed", at=at(-60))
ENGAGED = [Phase.SHADOWING, Phase.CANARY, Phase.PROMOTING, Phase.PROMOTED]


def told(annotations: dict[str, str], **changes: Any) -> tuple[str, str] | None:
    """Return what is said of these annotations."""
    return commands.ignored(situation(pod(), annotations=annotations, **changes))


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


@pytest.mark.parametrize(
    "value", ["", "yes", "1", "ture", "abcdef0123", REVISION[:-1], REVISION + "x", f"{REVISION}/2"]
)
def test_a_kill_that_names_nothing_is_told_with_what_would(value: str) -> None:
    reason, message = told({KILL: value}) or ("", "")
    assert reason == "KillIgnored"
    assert message == (
        f"annotation indexcache.dev/kill: found {value!r}, which stops nothing; "
        f'expected "true", or revision {REVISION}; correct it, or remove it'
    )


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("value", ["true", REVISION])
def test_a_kill_that_is_obeyed_is_not_told(phase: Phase, value: str) -> None:
    assert told({KILL: value}, status=status(phase)) is None
    assert told({KILL: "true"}, status=Status(phase=phase), spec=None) is None


def test_a_kill_may_name_the_revision_that_the_spec_asks_for() -> None:
    assert told({KILL: REVISION}, status=status(Phase.CANARY, revision="0123456789")) is None
    assert told({KILL: "0123456789"}, status=status(Phase.CANARY, revision="0123456789")) is None
    _, message = told({KILL: "x"}, status=status(Phase.CANARY, revision="0123456789")) or ("", "")
    assert f"or revision 0123456789, or revision {REVISION};" in message


@pytest.mark.parametrize(
    ("value", "rejected", "reason", "expected"),
    [
        (REVISION, REJECTED, None, ""),
        (f"{REVISION}/2", replace(REJECTED, retried=REVISION), None, ""),
        (REVISION, None, None, ""),
        ("true", REJECTED, "RetryIgnored", REVISION),
        ("", REJECTED, "RetryIgnored", REVISION),
        ("abcdef0123", REJECTED, "RetryIgnored", REVISION),
        ("abcdef0123", replace(REJECTED, retried=REVISION), "RetryIgnored", f"{REVISION}/2"),
        (REVISION, replace(REJECTED, retried=REVISION), "RetryUsedUp", f"{REVISION}/2"),
        (f"{REVISION}/2", replace(REJECTED, retried=f"{REVISION}/2"), "RetryUsedUp", f"{REVISION}/3"),
        (f"{REVISION}/x", replace(REJECTED, retried=f"{REVISION}/x"), "RetryUsedUp", f"{REVISION}/2"),
    ],
)
def test_a_retry_that_tries_nothing_is_told_with_what_would(
    value: str, rejected: Rejected | None, reason: str | None, expected: str
) -> None:
    found = told(
        {RETRY: value}, status=replace(status(Phase.FELL_BACK), rejected=(rejected,) if rejected else ())
    )
    if reason is None:
        assert found is None
        return
    assert found is not None
    assert found[0] == reason
    assert f"annotation indexcache.dev/retry: found {value!r}, which" in found[1]
    assert f"; expected {expected}; " in found[1]


@pytest.mark.parametrize(
    "name",
    [
        "indexcache.dev/kil",
        "indexcache.dev/promote",
        "indexcache.dev/Kill",
        "indexcache.io/kill",
        "indexcache/retry",
    ],
)
def test_a_command_that_there_is_none_of_is_told(name: str) -> None:
    reason, message = told({name: "true"}) or ("", "")
    assert reason == "UnknownCommand"
    assert message == (
        f"annotation {name}: found no such command; expected indexcache.dev/kill or indexcache.dev/retry; "
        "correct it, or remove it"
    )


@pytest.mark.parametrize(
    "name",
    [
        "kubectl.kubernetes.io/last-applied-configuration",
        "kill",
        "example.com/kill",
        "indexcache.example/note",
    ],
)
def test_what_is_others_is_no_command(name: str) -> None:
    assert told({name: "x"}) is None


def test_all_are_told_a_kill_first_and_none_at_any_length() -> None:
    many = {f"indexcache.dev/{i:03}{'x' * 60}": "y" * 9999 for i in range(200)}
    reason, message = told({**many, KILL: "k" * 200_000, RETRY: "r" * 9999}) or ("", "")
    assert reason == "KillIgnored"
    assert message.index("indexcache.dev/kill: found 'kkk") < message.index(
        "indexcache.dev/retry: found 'rrr"
    )
    assert message.endswith("; and 197 more")
    assert len(message) < 2000


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


def test_the_condition_says_that_none_is_ignored() -> None:
    found = next(c for c in conditions(situation(pod())) if c.type == commands.CONDITION)
    assert (found.status, found.reason, found.message) == ("True", "NoneIgnored", "")

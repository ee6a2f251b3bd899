"""Tests what is said of commands by annotation that can't be obeyed."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_operator.api.status import Condition, Phase, Rejected, Status
from indexcache_operator.model import Event
from indexcache_operator.plan.facts.revision import KILL, RETRY
from indexcache_operator.plan.report import commands
from indexcache_operator.plan.report.conditions import conditions

from tests.unit.operator.plan.build import REVISION, at, pod, situation, status

REJECTED = Rejected(revision=REVISION, reason="Killed", at=at(-60))


def told(annotations: dict[str, str], **changes: Any) -> tuple[str, str] | None:
    """Return what is said of these annotations."""
    return commands.ignored(situation(pod(), annotations=annotations, **changes))


def ignoring(message: str | None) -> Status:
    """Return a status with another condition, and the one that says which commands are ignored, if any."""
    other = Condition(type="Ready", status="False", reason="Checking", message="not yet")
    ours = Condition(type=commands.CONDITION, status="True", reason="NoneIgnored")
    if message is not None:
        ours = replace(ours, status="False", reason="KillIgnored", message=message)
    return Status(conditions=(other, ours))


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


@pytest.mark.parametrize("value", ["-", "", REVISION])
def test_before_there_is_a_revision_only_true_kills(value: str) -> None:
    reason, message = told({KILL: value}, status=Status(), spec=None) or ("", "")
    assert reason == "KillIgnored"
    assert message == (
        f"annotation indexcache.dev/kill: found {value!r}, which stops nothing; "
        'expected "true"; correct it, or remove it'
    )


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
        "indexcache.dev",
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


@pytest.mark.parametrize(("commands_given", "end"), [(5, "remove it"), (6, "remove it; and 1 more")])
def test_five_are_told_in_full(commands_given: int, end: str) -> None:
    _, message = told({f"indexcache.dev/{i}": "x" for i in range(commands_given)}) or ("", "")
    assert message.count("no such command") == 5
    assert message.endswith(f"or {end}")


@pytest.mark.parametrize(("characters", "end"), [(80, ""), (81, "...")])
def test_eighty_characters_are_shown_of_a_value_and_of_a_name(characters: int, end: str) -> None:
    _, message = told({KILL: "k" * characters}) or ("", "")
    assert f"found {'k' * 80!r}{end}, which stops nothing" in message
    name = "indexcache.dev/".ljust(characters, "k")
    _, message = told({name: "x"}) or ("", "")
    assert message.startswith(f"annotation {name[:80]}{end}: found no such command")


def test_the_condition_says_that_none_is_ignored() -> None:
    found = next(c for c in conditions(situation(pod())) if c.type == commands.CONDITION)
    assert (found.status, found.reason, found.message) == ("True", "NoneIgnored", "")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (None, "two", ["two"]),
        ("one", "two", ["two"]),
        ("two", "two", []),
        ("two", None, []),
        (None, "x" * 1001, ["x" * 1000]),
    ],
)
def test_an_event_says_what_is_ignored_that_was_not_at_the_last_look(
    before: str | None, after: str | None, said: list[str]
) -> None:
    assert commands.events(ignoring(before), ignoring(after)) == [
        Event(type="Warning", reason="KillIgnored", message=message) for message in said
    ]


def test_the_condition_stands_while_commands_are_ignored() -> None:
    standing = commands.standing(ignoring("one"))
    assert standing is not None
    assert (standing.type, standing.message) == (commands.CONDITION, "one")
    assert commands.standing(ignoring(None)) is None
    assert commands.standing(Status()) is None

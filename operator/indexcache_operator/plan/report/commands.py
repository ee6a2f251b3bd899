"""Annotations by which people give a rollout commands, and which of them can't be obeyed.

A command that does nothing must not be silent: whoever typed a kill with a mistake in it believes that reuse
is off. So everything under our prefix that no decision takes up is told, as the condition CommandsObeyed and
as an Event. What a command does is decided where it takes effect (triggers.py, check.py, fallback.py) by
revision.py.
"""

from collections.abc import Iterator

from indexcache_operator.api.base import GROUP
from indexcache_operator.api.status import Condition, Status
from indexcache_operator.model import Event
from indexcache_operator.plan.facts.revision import EVERYTHING, KILL, RETRY, killed, next_retry, used_retry
from indexcache_operator.plan.facts.situation import Situation

CONDITION = "CommandsObeyed"
SHOWN, MOST = 80, 5
"""Characters shown of a value or of a name; commands shown."""


def ignored(situation: Situation) -> tuple[str, str] | None:
    """Return the reason and the message of the commands that can't be obeyed; None if there are none.

    The reason is that of the first: a kill comes before all others.
    """
    found = [*_kill(situation), *_retry(situation), *_unknown(situation)]
    if not found:
        return None
    more = f"; and {len(found) - MOST} more" if len(found) > MOST else ""
    return found[0][0], "; ".join(message for _, message in found[:MOST]) + more


def _present(situation: Situation) -> tuple[str, ...]:
    """Return the revisions that a command may name: the one that is tried, and the one that the spec asks
    for.
    """
    return tuple(dict.fromkeys(filter(None, (situation.status.revision, situation.snapshot.wanted_revision))))


def _kill(situation: Situation) -> Iterator[tuple[str, str]]:
    annotations, present = situation.snapshot.observation.annotations, _present(situation)
    if KILL not in annotations or any(killed(annotations, name) for name in present or (EVERYTHING,)):
        return
    wanted = f'"{EVERYTHING}"' + "".join(f", or revision {name}" for name in present)
    found = _shown(annotations[KILL])
    yield (
        "KillIgnored",
        f"annotation {KILL}: found {found}, which stops nothing; expected {wanted}; correct it, or remove it",
    )


def _retry(situation: Situation) -> Iterator[tuple[str, str]]:
    value, present = situation.snapshot.observation.annotations.get(RETRY), _present(situation)
    if value is None:
        return
    named = value.split("/")[0]
    used = used_retry(situation.status, named)
    if named not in present:
        wanted = (
            " or ".join(next_retry(used_retry(situation.status, name), name) for name in present)
            or "a revision that was rejected"
        )
        why = "which names no revision that is rejected and asked for"
        yield (
            "RetryIgnored",
            f"annotation {RETRY}: found {_shown(value)}, {why}; expected {wanted}; correct it, or remove it",
        )
    elif value == used:
        wanted = next_retry(used, named)
        why = "which was used up by an earlier try"
        yield (
            "RetryUsedUp",
            f"annotation {RETRY}: found {_shown(value)}, {why}; expected {wanted}; write that to try once "
            "more, or remove it",
        )


def _unknown(situation: Situation) -> Iterator[tuple[str, str]]:
    for name in sorted(situation.snapshot.observation.annotations):
        prefix, _, command = name.rpartition("/")
        ours = prefix == GROUP or (GROUP.split(".")[0] in prefix and command.lower() in ("kill", "retry"))
        if ours and name not in (KILL, RETRY):
            shown = name if len(name) <= SHOWN else f"{name[:SHOWN]}..."
            yield (
                "UnknownCommand",
                f"annotation {shown}: found no such command; expected {KILL} or {RETRY}; correct it, or "
                "remove it",
            )


def _shown(value: str) -> str:
    return repr(value) if len(value) <= SHOWN else f"{value[:SHOWN]!r}..."


def standing(status: Status) -> Condition | None:
    """Return the condition of a status that commands are ignored; None where none are."""
    return next((c for c in status.conditions if c.type == CONDITION and c.status == "False"), None)


def events(before: Status, status: Status) -> list[Event]:
    """Return an Event where commands are ignored that weren't at the last look, or others."""
    old, new = standing(before), standing(status)
    if new is None or (old is not None and old.message == new.message):
        return []
    return [Event(type="Warning", reason=new.reason, message=new.message[:1000])]

"""The arguments of an engine's server, read as vLLM reads them.

vLLM's parser is argparse with three additions: underscores in a name are dashes, `--a.b c` sets a field of
the JSON value of `--a`, and so does a key of that value itself. As in argparse, a name and its value may be
one argument (`--a=b`) or two (`--a b`), `--no-a` takes `--a` back, and the last of several wins.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_NUMBER = re.compile(r"-\d+|-\d*\.\d+")
_LETTER_AND_NUMBER = re.compile(r"(-[A-Za-z])(\d+)")


@dataclass(frozen=True)
class Option:
    """An option that was given."""

    name: str
    """With its dashes: `--pipeline-parallel-size`, `-pp`, `--attention-config.backend`."""
    value: str | None = None
    """None where none follows: the option is a switch, or its value is missing."""


def parse(args: Sequence[str]) -> tuple[Option, ...]:
    """Return the options in the order in which they were given; fields of a JSON value stand before the
    option itself.
    """
    options: list[Option] = []
    for i, arg in enumerate(args):
        if arg == "--":
            break
        if _is_value(arg):
            continue
        name, found, value = arg.partition("=")
        following = args[i + 1] if i + 1 < len(args) else None
        if found:
            option = Option(_canonical(name), value)
        elif joined := _LETTER_AND_NUMBER.fullmatch(name):
            option = Option(joined[1], joined[2])
        else:
            option = Option(
                _canonical(name), following if following is not None and _is_value(following) else None
            )
        if option.name.startswith("--no-"):
            options = [o for o in options if o.name != "--" + option.name.removeprefix("--no-")]
        options += [*_fields(option), option]
    return tuple(options)


def canonical(args: Sequence[str]) -> list[str]:
    """Return the same arguments with each option written in one way: dashes in its name, and its value behind
    `=`.
    """
    out: list[str] = []
    for i, arg in enumerate(args):
        if arg == "--":
            return [*out, *args[i:]]
        name, found, value = arg.partition("=")
        if _is_value(arg):
            if out and i and not _is_value(args[i - 1]) and "=" not in args[i - 1]:
                out[-1] += f"={arg}"
            else:
                out.append(arg)
        else:
            out.append(f"{_canonical(name)}={value}" if found else _canonical(name))
    return out


def last(options: Sequence[Option], *names: str) -> Option | None:
    """Return the option that wins among these names, or among fields of theirs; None if none of them was
    given.
    """
    return next(
        (o for o in reversed(options) if any(o.name == n or o.name.startswith(n + ".") for n in names)), None
    )


def _is_value(arg: str) -> bool:
    return not arg.startswith("-") or arg == "-" or _NUMBER.fullmatch(arg) is not None


def _canonical(name: str) -> str:
    """Return a name with dashes up to its first dot: fields keep their underscores, and `+` only says that
    one is a list.
    """
    if not name.startswith("--"):
        return name
    option, dot, field = name.partition(".")
    return option.replace("_", "-") + dot + field.removesuffix("+")


def _fields(option: Option) -> Iterator[Option]:
    """Yield what the option's value sets, if it is a JSON object, as if each key had been given by itself."""
    if option.value is None or not option.value.startswith("{"):
        return
    try:
        found = json.loads(option.value)
    except (ValueError, RecursionError):  # vLLM will say so
        return
    for key, value in found.items():
        if value is not None:
            yield Option(f"{option.name}.{key}", value if isinstance(value, str) else json.dumps(value))

"""Bounds what an answer in JSON may hold, whoever gives it: numbers that stay exact, texts, lists and nesting
of a size that is met in earnest.
"""

import json
from typing import Any, cast

INTEGER = 2**53
"""Greatest magnitude of a number: beyond it floats are no longer exact."""
TEXT = 8192
"""Characters of a text, and of a field's name."""
ITEMS = 200_000
"""Items of one list or object: a large model's series, in every bucket of context length and both modes."""
DEPTH = 16


class TooMuch(ValueError):
    """An answer beyond these bounds; the message says what was found where."""


def parse(raw: bytes) -> Any:  # Any: JSON
    """Return the JSON value that a body holds.

    Raises TooMuch for one beyond the bounds, and for what is no JSON.
    """
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise TooMuch(f"no JSON: {error}") from None
    check(value)
    return value


def check(value: object) -> None:
    """Check a value and all that is in it. Raises TooMuch."""
    found = _beyond(value, 0)
    if found is not None:
        place, said = found
        raise TooMuch(f"{'.'.join(reversed(place)) or 'the answer'}: {said}")


def _beyond(value: object, depth: int) -> tuple[list[str], str] | None:
    """Return the place of what is beyond the bounds, innermost part first, and what it is; None if nothing
    is.

    A state has thousands of numbers and is read several times a second: no place is named before it must be.
    """
    if depth > DEPTH:
        return [], f"nested over {DEPTH} deep"
    if not isinstance(value, dict | list):
        said = _scalar(value)
        return None if said is None else ([], said)
    if len(value) > ITEMS:
        return [], f"{len(value)} items, at most {ITEMS} expected"
    if depth < DEPTH and isinstance(value, list) and _are_small(value):
        return None
    for name, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(name, str) and len(name) > TEXT:
            return [], f"a field's name of {len(name)} characters, at most {TEXT} expected"
        found = _beyond(item, depth + 1)
        if found is not None:
            found[0].append(str(name))
            return found
    return None


def _are_small(items: list[object]) -> bool:
    """Return whether a list holds nothing but whole numbers within the bound, as a histogram's counts do."""
    if not items or set(map(type, items)) != {int}:
        return False
    numbers = cast(list[int], items)
    return min(numbers) >= -INTEGER and max(numbers) <= INTEGER


def _scalar(value: object) -> str | None:
    if isinstance(value, str):
        return None if len(value) <= TEXT else f"a text of {len(value)} characters, at most {TEXT} expected"
    if isinstance(value, int | float) and not abs(value) <= INTEGER:  # nor is any comparison true of NaN
        return f"a number beyond {INTEGER}, or none"
    return None

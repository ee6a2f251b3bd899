"""What an answer in JSON may hold, whoever gives it: numbers that stay exact, texts, lists and nesting of a
size that is met in earnest.
"""

import json
from typing import Any

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


def check(value: object, path: str = "", depth: int = 0) -> None:
    """Check a value and all that is in it. Raises TooMuch."""
    where = path or "the answer"
    if depth > DEPTH:
        raise TooMuch(f"{where}: nested over {DEPTH} deep")
    if isinstance(value, str) and len(value) > TEXT:
        raise TooMuch(f"{where}: a text of {len(value)} characters, at most {TEXT} expected")
    if isinstance(value, int | float) and not abs(value) <= INTEGER:  # nor is any comparison true of NaN
        raise TooMuch(f"{where}: a number beyond {INTEGER}, or none")
    if isinstance(value, dict | list):
        if len(value) > ITEMS:
            raise TooMuch(f"{where}: {len(value)} items, at most {ITEMS} expected")
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(name, str) and len(name) > TEXT:
                raise TooMuch(f"{where}: a field's name of {len(name)} characters, at most {TEXT} expected")
            check(item, f"{path}.{name}" if path else str(name), depth + 1)

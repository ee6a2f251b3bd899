"""Makes a status fit its own schema before it is written, by the bounds that the CRD has: nothing here knows
a field by name.

The API server refuses a status of which one text is too long, and then nothing that the status was to carry
is ever written: no fallback, no epoch. So it is better cut than refused. Texts lose their end, lists their
oldest items, numbers what no JSON or no int64 holds; and should the whole still be larger than an object may
be, long texts lose more.

Traps: what is read back is what was cut, so nothing may be compared with it that is as long as it likes;
names are never cut, since they have at most 253 characters; and a user's own objects (a route's backends) are
left as they are.
"""

import json
import math
import sys
from typing import Any

from indexcache_operator.api.structural import Schema

Json = Any  # Any: JSON

MAX_BYTES = 1_000_000
"""Of a whole status. An object may have about 1.5 MB, and the spec needs its part."""
_LADDER = (
    (sys.maxsize, sys.maxsize),
    (1024, sys.maxsize),
    (256, sys.maxsize),
    (256, 512),
    (256, 128),
    (256, 32),
)
"""Longest texts and most items, the next if the one before is still too large. No name has more than 253
characters.
"""
_INT64 = (-(2**63), 2**63 - 1)


class _Absent:
    """Stands for a value that JSON doesn't have."""


_ABSENT = _Absent()


def fit(value: Json, schema: Schema) -> Json:
    """Return the value with everything cut that its structural schema doesn't allow, and small enough for an
    object.
    """
    for longest, most in _LADDER:
        out = _fit(value, schema, longest, most)
        if len(json.dumps(out)) <= MAX_BYTES:
            break
    return out


def _fit(value: Json, schema: Schema, longest: int, most: int) -> Json:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if "enum" in schema else _text(value, min(schema.get("maxLength", longest), longest))
    if isinstance(value, int | float):
        return _number(value, schema)
    if isinstance(value, list):
        kept = value[-min(schema.get("maxItems", most), most) :]
        items = (_fit(item, schema.get("items", {}), longest, most) for item in kept)
        return [item for item in items if item is not _ABSENT]
    if isinstance(value, dict):
        if "properties" not in schema and "additionalProperties" not in schema:
            return _own(value)
        return _object(value, schema, longest, most)
    return value


def _object(value: dict[str, Json], schema: Schema, longest: int, most: int) -> dict[str, Json]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    out = {}
    for name, child in value.items():
        made = _fit(child, known.get(name, others), longest, most)
        if made is _ABSENT and name in schema.get("required", []):
            made = _number(0.0, known[name])
        if made is not _ABSENT:
            out[name] = made
    return out


def _own(value: Json) -> Json:
    """Return a user's own object whole, but for numbers that JSON doesn't have."""
    if isinstance(value, dict):
        return {name: _own(child) for name, child in value.items()}
    if isinstance(value, list):
        return [_own(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: str, longest: int) -> str:
    if len(value) <= longest:
        return value
    mark = f"... ({len(value)} characters in all)"
    return value[: longest - len(mark)] + mark if len(mark) < longest else value[:longest]


def _number(value: float, schema: Schema) -> float | _Absent:
    """Return the nearest number that the schema allows; nothing for NaN."""
    if isinstance(value, float) and math.isnan(value):
        return _ABSENT
    low, high = _INT64 if schema.get("type") == "integer" else (-sys.float_info.max, sys.float_info.max)
    nearest: float = min(max(value, schema.get("minimum", low)), schema.get("maximum", high))
    return nearest

"""Tells whether a structural schema lets a value through, by hand: what the API server would say, without
one.

It knows the keywords and the CEL rules that the CRD uses, and no others: a rule that is new to it is a
KeyError, so that whoever writes one says here what it means.
"""

import math
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from indexcache_operator.api import times

Schema = dict[str, Any]
INT64 = 2**63

_SPAN = re.compile(r"duration\(self\) >= duration\('(\w+)'\) && duration\(self\) <= duration\('(\w+)'\)")
_BETWEEN = re.compile(r"self >(=?) ([\d.]+) && self <(=?) ([\d.]+)")


def problems(schema: Schema, value: Any, path: str = "", *, rules: bool = True) -> list[str]:
    """Return the paths at which a value breaks its schema, each with the keyword; none if it is let through.

    `rules` False: by the schema's own bounds alone, without CEL.
    """
    found = [f"{path}: {keyword}" for keyword, holds in _own(schema, value) if not holds]
    if found:
        return found
    if isinstance(value, dict):
        for name, child in value.items():
            inner = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if isinstance(inner, dict):
                found += problems(inner, child, f"{path}.{name}", rules=rules)
    if isinstance(value, list):
        for i, item in enumerate(value):
            found += problems(schema["items"], item, f"{path}[{i}]", rules=rules)
    if rules and not found:
        broken = (
            rule for rule in schema.get("x-kubernetes-validations", []) if not _holds(rule["rule"], value)
        )
        found += [f"{path}{rule.get('fieldPath', '')}: {rule['rule']}" for rule in broken]
    return found


def _own(schema: Schema, value: Any) -> list[tuple[str, bool]]:
    checks: list[tuple[str, bool]] = [("type", _is(schema["type"], value))]
    if not checks[0][1]:
        return checks
    if isinstance(value, str):
        checks += [
            ("minLength", len(value) >= schema.get("minLength", 0)),
            ("maxLength", len(value) <= schema.get("maxLength", len(value))),
            # Go's `$` is the very end of the text, Python's is not.
            (
                "pattern",
                "pattern" not in schema
                or re.search(schema["pattern"].replace("$", r"\Z"), value) is not None,
            ),
        ]
    if isinstance(value, list):
        checks += [
            ("minItems", len(value) >= schema.get("minItems", 0)),
            ("maxItems", len(value) <= schema.get("maxItems", len(value))),
        ]
    if isinstance(value, int | float):
        least, most = schema.get("minimum", value), schema.get("maximum", value)
        checks += [
            ("minimum", value > least if schema.get("exclusiveMinimum") else value >= least),
            ("maximum", value < most if schema.get("exclusiveMaximum") else value <= most),
            ("format", schema.get("format") != "int64" or -INT64 <= value < INT64),
        ]
    if isinstance(value, dict):
        checks += [(f"required {name}", name in value) for name in schema.get("required", [])]
    return [*checks, ("enum", "enum" not in schema or value in schema["enum"])]


def _is(kind: str, value: Any) -> bool:
    if kind == "number":
        # JSON has neither NaN nor infinities.
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole or (isinstance(value, float) and math.isfinite(value))
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    kinds: dict[str, type] = {"string": str, "boolean": bool, "array": list, "object": dict}
    return isinstance(value, kinds[kind])


def _holds(rule: str, value: Any) -> bool:
    if span := _SPAN.fullmatch(rule):
        return times.parse(span[1]) <= times.parse(value) <= times.parse(span[2])
    if between := _BETWEEN.fullmatch(rule):
        low, high = float(between[2]), float(between[4])
        above: bool = value >= low if between[1] else value > low
        below: bool = value <= high if between[3] else value < high
        return above and below
    return _RULES[rule](value)


def _rising(steps: list[dict[str, Any]]) -> bool:
    weights = [step["weight"] for step in steps]
    return weights == sorted(set(weights))


_RULES: dict[str, Callable[[Any], bool]] = {
    "self.matches('^[FS]+$')": lambda pattern: not set(pattern) - {"F", "S"},
    "!self.startsWith('S')": lambda pattern: not pattern.startswith("S"),
    "!has(self.protected) || self.protected.all(i, i < size(self.pattern))": lambda cache: all(
        i < len(cache["pattern"]) for i in cache.get("protected", [])
    ),
    "self.map(s, s.weight).isSorted() && self.all(s, self.exists_one(t, t.weight == s.weight))": _rising,
}


def leaves(schema: Schema, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Schema]]:
    """Return every node with its path; an item of a list stands at 0."""
    out = [(path, schema)]
    for name, child in schema.get("properties", {}).items():
        out += leaves(child, (*path, name))
    if "items" in schema:
        out += leaves(schema["items"], (*path, 0))
    return out


def just_around(schema: Schema) -> list[Any]:
    """Return values of a bounded node at its bounds and just beyond them."""
    kind, out = schema["type"], []
    ends = [schema[end] for end in ("minimum", "maximum") if end in schema]
    if kind == "integer":
        out += [end + step for end in ends for step in (-1, 0, 1)]
    elif kind == "number":
        out += [float(end) * factor for end in ends for factor in (1 - 1e-9, 1.0, 1 + 1e-9)]
    elif kind == "array":
        sizes = [schema[end] for end in ("minItems", "maxItems") if end in schema]
        out += [[None] * max(size + step, 0) for size in sizes for step in (-1, 0, 1)]
    elif kind == "string" and "enum" not in schema:
        rules = [rule["rule"] for rule in schema.get("x-kubernetes-validations", [])]
        spans = [span for rule in rules if (span := _SPAN.fullmatch(rule))]
        edges = [times.parse(end) for span in spans for end in span.groups()]
        step = timedelta(milliseconds=1)
        out += [times.text(at) for end in edges for at in (end - step, end, end + step) if at >= timedelta()]
        if not spans:
            sizes = [schema[end] for end in ("minLength", "maxLength") if end in schema]
            out += ["F" * max(size + step, 0) for size in sizes for step in (-1, 0, 1)]
            out += ["f" * max(size + step, 0) for size in sizes for step in (-1, 0, 1)]
    return out

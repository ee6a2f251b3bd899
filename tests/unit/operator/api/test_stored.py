"""A status survives being written and read, whatever the CRD lets it hold, and however old it is."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indexcache_operator.api import stored, times
from indexcache_operator.api.status import Phase, PodStatus, Status, StepStatus
from indexcache_operator.api.structural import Schema, structural
from pydantic import ValidationError

SCHEMA = structural(Status)
PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(max_size=8),
    "integer": st.integers(-(2**31), 2**31),
    "number": st.integers(0, 10**9).map(lambda thousandths: thousandths / 1000),
    "boolean": st.booleans(),
}

TIMES = st.integers(0, 10**14).map(
    lambda ms: times.stamp(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms))
)


def held(schema: Schema) -> st.SearchStrategy[Any]:
    """Draw all that a node of the CRD's schema can hold."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("format") == "date-time":
        return TIMES
    if schema["type"] == "array":
        return st.lists(held(schema["items"]), max_size=3)
    if schema["type"] != "object":
        return PLAIN[schema["type"]]
    if "additionalProperties" in schema:
        return st.dictionaries(st.text(max_size=3), held(schema["additionalProperties"]), max_size=3)
    if "properties" not in schema:
        return st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=3)
    required = set(schema.get("required", ()))
    parts = {name: held(node) for name, node in schema["properties"].items()}
    return st.fixed_dictionaries(
        {name: part for name, part in parts.items() if name in required},
        optional={name: part for name, part in parts.items() if name not in required},
    )


def kept(given: Any, written: Any) -> bool:
    """Return whether all that was given is in what was written, beside the defaults of what wasn't."""
    if isinstance(given, dict):
        return all(name in written and kept(value, written[name]) for name, value in given.items())
    if isinstance(given, list):
        return len(given) == len(written) and all(map(kept, given, written))
    return bool(given == written)


@given(held(SCHEMA))
@settings(max_examples=200, deadline=None)
def test_what_the_crd_can_hold_survives_reading_and_writing(found: dict[str, Any]) -> None:
    status = stored.read(found)
    written = stored.dump(status)
    assert kept(found, written)
    assert stored.read(written) == status


def test_every_field_has_its_place_in_the_crd() -> None:
    assert len(SCHEMA["properties"]) == len(fields(Status))
    assert len(SCHEMA["properties"]["pods"]["items"]["properties"]) == len(fields(PodStatus))


@pytest.mark.parametrize("found", [{}, {"phase": "Pending"}, {"ofAnOlderVersion": 1, "traffic": {"too": {}}}])
def test_what_an_older_status_lacks_has_its_default_and_what_it_had_is_left_out(
    found: dict[str, Any],
) -> None:
    assert stored.read(found) == Status()


def test_a_part_that_lacks_a_field_has_the_default_of_that_field() -> None:
    found = {
        "pods": [{"name": "a", "gone": 1}],
        "step": {"index": 1, "weight": 5, "startedAt": "2026-01-01T00:00:00.000Z"},
    }
    step = StepStatus(index=1, weight=5, started_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert stored.read(found) == Status(pods=(PodStatus(name="a"),), step=step)


def test_what_is_absent_is_not_written() -> None:
    written = stored.dump(Status(phase=Phase.CANARY))
    assert written["phase"] == "Canary"
    assert written["canaryPods"] == []
    assert not {"step", "route", "quality", "fallback"} & written.keys()


@pytest.mark.parametrize(
    ("found", "field"),
    [
        ({"phase": "Dreaming"}, ("phase",)),
        ({"epoch": "many"}, ("epoch",)),
        ({"pods": [{}]}, ("pods", 0, "name")),
        (
            {"evidence": [{"guardrail": "recall", "verdict": "Perhaps", "alpha": 1}]},
            ("evidence", 0, "verdict"),
        ),
    ],
)
def test_what_a_field_can_not_hold_is_named(found: dict[str, Any], field: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationError) as error:
        stored.read(found)
    assert [e["loc"] for e in error.value.errors()] == [field]

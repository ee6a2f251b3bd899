"""The CRD and the models allow the same, field by field: at each bound and right beside it both say yes, or
both say no.
"""

import copy
from typing import Any

import pytest
import yaml
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import Status
from pydantic import TypeAdapter, ValidationError

from scripts.generate.crd import CRD_FILE
from tests.unit.operator.mutated import WHOLE, Path
from tests.unit.structural import Schema, just_around, leaves, problems

# The file that is applied, not what would be generated now.
CRD: Schema = yaml.safe_load(CRD_FILE.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"][
    "properties"
]
BOUNDED = [(path, node) for path, node in leaves(CRD["spec"]) if just_around(node)]


def changed(path: Path, value: Any) -> dict[str, Any]:
    """Return the whole spec with one field changed. Lists get items that are right in themselves."""
    out = copy.deepcopy(WHOLE)
    node: Any = out
    for part in path[:-1]:
        node = node[part]
    if isinstance(value, list):
        value = items(path, len(value))
    node[path[-1]] = value
    if path[:2] == ("indexCache", "protected"):
        out["indexCache"]["pattern"] = "F" * 512
    if path[:2] == ("indexCache", "pattern"):
        out["indexCache"]["protected"] = []
    if path[:2] == ("strategy", "steps") and len(path) > 2:
        out["strategy"]["steps"] = out["strategy"]["steps"][:1]
    return out


def items(path: Path, number: int) -> list[Any]:
    """Return so many items of a list, each right in itself."""
    if path[-1] == "steps":
        return [{"weight": i + 1} for i in range(number)]
    return list(range(number)) if path[-1] == "protected" else ["x"] * number


def accepted(spec: dict[str, Any]) -> bool:
    """Return whether the model takes a spec."""
    try:
        Spec.model_validate(spec)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(("path", "node"), BOUNDED, ids=[".".join(map(str, path)) for path, _ in BOUNDED])
def test_at_each_bound_the_crd_and_the_model_say_the_same(path: Path, node: Schema) -> None:
    said = []
    for value in just_around(node):
        spec = changed(path, value)
        by_crd = problems(CRD["spec"], spec)
        assert accepted(spec) is not bool(by_crd), (value, by_crd)
        said.append(not by_crd)
    assert set(said) == {True, False}, "these are not the field's bounds"


def test_every_field_that_could_be_bounded_is() -> None:
    free = [
        path
        for path, node in leaves(CRD["spec"])
        if node["type"] in ("number", "integer", "string", "array")
        and "enum" not in node
        and (path, node) not in BOUNDED
    ]
    assert free == []


def test_every_text_and_list_of_the_status_is_bounded() -> None:
    fresh = TypeAdapter(Status).json_schema(by_alias=True)
    assert set(CRD["status"]["properties"]) == set(fresh["properties"])
    for path, node in leaves(CRD["status"]):
        if node["type"] in ("string", "array") and "enum" not in node:
            assert {"maxLength", "maxItems"} & node.keys(), path

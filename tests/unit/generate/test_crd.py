"""The generated files are those in the repository, and every rule's cost is bounded."""

from typing import Any

import pytest
from indexcache_operator.api.base import MAX_ITEMS
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.structural import structural
from indexcache_operator.plan.facts import revision
from pydantic import BaseModel

from scripts.generate import crd


@pytest.mark.parametrize("path", crd.render().keys(), ids=lambda path: path.name)
def test_committed_files_are_current(path: Any) -> None:
    assert path.read_text() == crd.render()[path], "run `make generate`"


def _nodes(node: dict[str, Any], path: str = "") -> Any:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from _nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from _nodes(node[key], f"{path}[]")


def test_every_list_and_string_of_the_spec_is_bounded() -> None:
    for path, node in _nodes(structural(Spec)):
        if node["type"] == "array":
            assert node["maxItems"] <= MAX_ITEMS, path
        if node["type"] == "string" and "enum" not in node:
            assert node["maxLength"] <= 4096, path


def test_speaks_the_structural_dialect() -> None:
    for path, node in _nodes(crd.root_schema()):
        assert not {"$ref", "anyOf", "allOf", "oneOf", "title", "const"} & node.keys(), path
        assert isinstance(node.get("exclusiveMinimum", True), bool), path
        assert isinstance(node["type"], str), path


def test_status_has_no_defaults() -> None:
    assert all("default" not in node for _, node in _nodes(crd.root_schema()["properties"]["status"]))


def test_names_the_field_it_cannot_express() -> None:
    class Odd(BaseModel):
        either: int | str

    with pytest.raises(TypeError, match="either: 2 types"):
        structural(Odd)


def test_kubectl_explain_is_silent_on_no_field() -> None:
    silent = [path for path, node in _nodes(crd.root_schema()) if not node.get("description")]
    assert [path for path in silent if not path.endswith("[]")] == [".metadata"]  # every object's own


def test_kubectl_explain_names_the_annotations() -> None:
    words = {word.rstrip(":") for word in crd.root_schema()["description"].split()}
    assert {revision.KILL, revision.RETRY} <= words

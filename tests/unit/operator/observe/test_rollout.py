"""Tests what of a rollout can be read."""

import copy
from typing import Any

import pytest
from indexcache_operator.observe.rollout import UnreadableStatus, read

GOOD: dict[str, Any] = {
    "metadata": {"name": "r", "namespace": "ns", "uid": "u"},
    "spec": {
        "engine": {"image": "i", "model": "m"},
        "indexCache": {"pattern": "FS"},
        "strategy": {"steps": [{"weight": 5}, {"weight": 50}]},
    },
}


def changed(*path: Any, value: Any = 7) -> dict[str, Any]:
    out = copy.deepcopy(GOOD)
    node: Any = out["spec"]
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    return out


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (("later",), "spec.later"),
        (("engine", "later"), "spec.engine.later"),
        (("strategy", "steps", 1, "later"), "spec.strategy.steps[1].later"),
    ],
)
def test_a_field_of_a_newer_version_is_named_and_the_rest_is_read(path: tuple[Any, ...], field: str) -> None:
    found = read(changed(*path))
    assert found.unknown_fields == (field,)
    assert found.spec == read(GOOD).spec
    assert found.spec_problem is None


def test_beside_a_field_that_isnt_known_what_is_wrong_is_told() -> None:
    raw = changed("later")
    raw["spec"]["engine"]["replicas"] = "many"
    found = read(raw)
    assert found.spec is None
    assert found.spec_problem is not None
    assert found.spec_problem.startswith("spec.engine.replicas: found")
    assert found.unknown_fields == ("spec.later",)


def test_a_status_that_cant_be_read_comes_with_its_object() -> None:
    raw = {**GOOD, "status": {"phase": 42}}
    with pytest.raises(UnreadableStatus, match=r"status\.phase") as caught:
        read(raw)
    assert caught.value.raw is raw

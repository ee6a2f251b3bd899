"""Specs as nobody would write them, made from the CRD's schema: a whole spec with a few of its fields
changed.

The same seed makes the same specs. `make specs SEED=7 COUNT=20000` tries others than `make unit` does.
"""

import copy
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from scripts.generate.crd import root_schema
from tests.unit.structural import Schema, just_around, leaves

Path = tuple[str | int, ...]
SCHEMA: Schema = root_schema()["properties"]["spec"]

WHOLE: dict[str, Any] = {
    "engine": {
        "image": "engine:1",
        "command": ["vllm", "serve"],
        "model": "org/model",
        "args": ["--max-model-len=4096"],
        "replicas": 3,
        "port": 8000,
        "runtime": "runtime:1",
        "resources": {"limits": {"cpu": 1}},
        "template": {"spec": {"containers": [{"name": "engine", "env": [{"name": "A", "value": "b"}]}]}},
    },
    "indexCache": {
        "pattern": "FSFS",
        "protected": [3],
        "minContextTokens": 0,
        "sampleRows": 32,
        "indexer": "Native",
    },
    "strategy": {
        "exposure": "InPlace",
        "shadow": {"minRequests": 20, "timeout": "60s"},
        "reach": {"minShare": 0.9},
        "steps": [{"weight": 20, "minDuration": "0s"}, {"weight": 50, "minDuration": "10s"}],
        "progressDeadline": "120s",
    },
    "traffic": {"httpRoute": {"name": "users", "rule": "generate"}},
    "guardrails": {
        "overlap": {"min": 0.3, "observeOnly": False},
        "recall": {"min": 0.5, "perIndexerMin": 0.25, "observeOnly": False},
        "quality": {
            "maxLogprobDrop": 0.02,
            "maxDisasterShare": 0.02,
            "maxTimeShare": 0.1,
            "probes": {"configMap": "p"},
            "observeOnly": False,
        },
        "unguarded": False,
    },
    "confidence": {"falseRollback": 0.01, "badPromotion": 0.05},
    "alerts": {"onFiring": "Rollback"},
    "fallback": {"permit": {"canary": "5s", "promoted": "12h"}, "inFlight": "Continue"},
    "deletionPolicy": "Delete",
    "paused": False,
}
"""Every field of the schema, so that each can be changed."""

_NUMBERS = [
    0,
    -1,
    1,
    5e-324,
    1e-300,
    1e-17,
    0.01,
    0.02,
    0.5,
    0.979,
    0.98,
    0.9999,
    1.0,
    1e300,
    2**31,
    2**63,
    2**80,
    1000,
]
_TEXTS = [
    "",
    " ",
    "a",
    "-",
    "../x",
    "a\n",
    "é",
    "\0",
    "F",
    "S",
    "FS" * 256,
    "FSSS",
    "F" * 512,
    "x" * 600,
    "x" * 5000,
]
_DURATIONS = [
    "0s",
    "1ms",
    "0.0000001s",
    "999ms",
    "1s",
    "9.999s",
    "1.5h",
    "1h1h",
    "168h1ms",
    "200h",
    "721h",
    "9" * 31 + "h",
    "-1s",
    "1d",
    "",
]
_TYPES: list[Any] = [None, True, 5, 1.5, "5", [], {}, [[]], [None], {"a": None}]
_ARGUMENTS = [
    "--a=" + '{"a":' * 800,
    "--a=" + '{"a":' + "[" * 4000,
    "--",
    "-",
    "--no-a",
    "-pp4",
    "--a={",
    "--port",
    "=",
    "--no-",
    "--a.b",
    "-5",
]
_PARTS = [
    "metadata",
    "spec",
    "labels",
    "containers",
    "initContainers",
    "volumes",
    "env",
    "ports",
    "volumeMounts",
    "name",
    "value",
    "$patch",
]


class Mutant(NamedTuple):
    """A spec, and what was changed in it."""

    spec: Any
    changed: tuple[Path, ...]


def mutants(seed: int, count: int) -> Iterator[Mutant]:
    """Yield so many specs: each field of the schema in turn, and up to two others beside it."""
    chance = random.Random(seed)
    nodes = [(path, node) for path, node in leaves(SCHEMA) if path]
    for number in range(count):
        spec = copy.deepcopy(WHOLE)
        chosen = [nodes[number % len(nodes)], *chance.sample(nodes, chance.choice([0, 0, 1, 2]))]
        for path, node in chosen:
            _change(chance, spec, path, node)
        yield Mutant(spec, tuple(path for path, _ in chosen))


def _change(chance: random.Random, spec: dict[str, Any], path: Path, node: Schema) -> None:
    parent: Any = spec
    for part in path[:-1]:
        try:
            parent = parent[part]
        except (KeyError, IndexError, TypeError):
            return  # another change took it away
    last: Any = path[-1]
    if isinstance(parent, dict) and chance.random() < 0.1:
        parent.pop(last, None)
    elif isinstance(parent, dict) or (
        isinstance(parent, list) and isinstance(last, int) and len(parent) > last
    ):
        parent[last] = _value(chance, node, parent[last] if isinstance(parent, list) else parent.get(last))


def _value(chance: random.Random, node: Schema, was: Any) -> Any:
    if chance.random() < 0.15:
        return copy.deepcopy(chance.choice(_TYPES))
    kind = node["type"]
    around = just_around(node) if kind != "array" else []
    if around and chance.random() < 0.5:
        return chance.choice(around)
    if kind in ("integer", "number"):
        return chance.choice(_NUMBERS)
    if kind == "boolean":
        return chance.random() < 0.5
    if kind == "array":
        return _list(chance, node, was)
    if kind == "object":
        return _object(chance, node, was)
    if "enum" in node:
        return chance.choice([*node["enum"], "Other", ""])
    return chance.choice(
        _DURATIONS if "duration" in str(node.get("x-kubernetes-validations")) else [*_TEXTS, *_ARGUMENTS]
    )


def _list(chance: random.Random, node: Schema, was: Any) -> Any:
    items = [*was] if isinstance(was, list) else []
    do = chance.randrange(4)
    if do == 0:
        return items * chance.choice([0, 2, 40, node["maxItems"] + 1])
    if do == 1:
        return items[::-1]
    return [*items, _value(chance, node["items"], None)]


def _object(chance: random.Random, node: Schema, was: Any) -> Any:
    if node.get("x-kubernetes-preserve-unknown-fields"):
        return _anything(chance, 0)
    return {
        **(was if isinstance(was, dict) else {}),
        chance.choice(["other", "Min", "$ref"]): chance.choice(_TYPES),
    }


def _anything(chance: random.Random, depth: int) -> Any:
    """Make what may stand where the schema says nothing: here a pod template's parts, in places that are not
    theirs.
    """
    if depth > 5 or chance.random() < 0.15:
        return copy.deepcopy(
            chance.choice(
                [*_TYPES, "engine", "indexcache-runtime", "a", "INDEXCACHE_TOKEN_FILE", "PYTHONPATH"]
            )
        )
    if chance.random() < 0.4 and depth:
        return [_anything(chance, depth + 1) for _ in range(chance.randrange(3))]
    return {chance.choice(_PARTS): _anything(chance, depth + 1) for _ in range(chance.randrange(1, 4))}

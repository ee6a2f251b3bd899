"""Odd templates: each is refused by field, or is one that an API server may judge."""

import json
import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indexcache_core.contract import TOKEN_FILE_ENV
from indexcache_operator.api.spec import Spec
from indexcache_operator.workload.merge import TemplateError
from indexcache_operator.workload.render import Owner, Runtime, render

from tests.credentials import control

OWNER, RUNTIME = Owner(name="chat", namespace="ns", uid="uid"), Runtime(image="runtime:1")
GOOD: dict[str, Any] = {
    "metadata": {"labels": {"team": "chat"}, "annotations": {"a": "b"}},
    "spec": {
        "nodeSelector": {"gpu": "h200"},
        "initContainers": [{"name": "warm", "image": "busybox"}],
        "containers": [
            {
                "name": "engine",
                "env": [
                    {"name": "PYTHONPATH", "value": "/x"},
                    {"name": "VLLM_PLUGINS", "valueFrom": {"fieldRef": {"fieldPath": "f"}}},
                ],
                "ports": [{"containerPort": 9000}],
                "volumeMounts": [{"name": "models", "mountPath": "/models"}],
            },
            {"name": "sidecar", "image": "s"},
        ],
        "volumes": [{"name": "models", "emptyDir": {}}],
    },
}
ODD: list[Any] = [
    None,
    "",
    "x",
    0,
    -1,
    2**70,
    1.5,
    True,
    [],
    {},
    [None],
    [[]],
    {"": {}},
    {"$patch": "x"},
    ["a"],
    [{"name": {}}],
    "é\n",
]


def rendered(template: dict[str, Any]) -> None:
    """Render a rollout with this template; what is made can be sent."""
    spec = Spec.model_validate(
        {"engine": {"image": "i", "model": "m", "template": template}, "indexCache": {"pattern": "FS"}}
    )
    made = render(spec, OWNER, RUNTIME, control("ns", "chat"))
    json.dumps(made.deployment)
    (engine,) = [
        c for c in made.deployment["spec"]["template"]["spec"]["containers"] if c["name"] == "engine"
    ]
    assert {"name": TOKEN_FILE_ENV, "value": "/var/run/indexcache/token"} in engine["env"]


def refusal(template: dict[str, Any]) -> str | None:
    """Return why a template is refused; None if it is taken."""
    try:
        rendered(template)
    except TemplateError as error:
        return str(error)
    return None


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return all places in a template."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in places(item, (*path, key)))]


def changed(template: Any, place: tuple[Any, ...], value: Any) -> Any:
    """Return the same template with another value in one place."""
    if not place:
        return value
    out = dict(template) if isinstance(template, dict) else list(template)
    out[place[0]] = changed(out[place[0]], place[1:], value)
    return out


def test_the_template_that_is_changed_is_good() -> None:
    rendered(GOOD)


@pytest.mark.parametrize("place", [p for p in places(GOOD) if p], ids=lambda p: ".".join(map(str, p)))
def test_an_odd_value_anywhere_is_refused_by_field_or_taken(place: tuple[Any, ...]) -> None:
    for value in ODD:
        why = refusal(changed(GOOD, place, value))
        assert why is None or re.fullmatch(
            r"spec\.engine\.template.*: found .*; .*; .*(correct|write|give|leave).*", why, re.DOTALL
        )


def test_several_odd_values_are_refused_or_taken() -> None:
    draw = random.Random(1)
    for _ in range(1000):
        template: Any = GOOD
        for _ in range(draw.randint(1, 4)):
            template = changed(
                template, draw.choice([p for p in places(template) if p] or [("metadata",)]), draw.choice(ODD)
            )
        assert (refusal(template) or "spec.engine.template").startswith("spec.engine.template")


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "env", "containers", "spec", "x"]), inner)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["metadata", "spec", "kind"]), JSON))
@settings(max_examples=300)
def test_any_object_is_refused_or_taken(template: dict[str, Any]) -> None:
    assert (refusal(template) or "spec.engine.template").startswith("spec.engine.template")


def test_a_template_deeper_than_any_pod_is_refused() -> None:
    deep: Any = {}
    for _ in range(500):
        deep = {"x": deep}
    with pytest.raises(TemplateError, match="found over 64 levels"):
        rendered({"spec": deep})

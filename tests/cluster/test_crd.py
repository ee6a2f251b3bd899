"""Tests what the API server itself refuses, each by the field's name; what it fills in; what it shows."""

import copy
from typing import Any

import pytest
from indexcache_operator import names
from indexcache_operator.api.spec import Spec
from indexcache_operator.kube import Conflict, Kube, KubeError

GOOD: dict[str, Any] = {
    "apiVersion": "indexcache.dev/v1alpha1",
    "kind": "IndexCacheRollout",
    "metadata": {"name": "r"},
    "spec": {"engine": {"image": "i", "model": "m"}, "indexCache": {"pattern": "FFSS"}},
}


def rollout(**changes: Any) -> dict[str, Any]:
    """Return GOOD with some fields of the spec set, by dotted path with `__` for dots; None takes one
    away."""
    body = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = body["spec"]
        for parent in parents:
            node = node.setdefault(parent, {})
        if value is None:
            node.pop(last, None)
        else:
            node[last] = value
    return body


async def refusal(kube: Kube, namespace: str, body: dict[str, Any]) -> str:
    with pytest.raises(KubeError) as caught:
        await kube.create(names.rollouts_path(namespace), body)
    assert caught.value.status in (400, 422)
    return caught.value.message


async def test_stores_what_was_written_and_no_default(kube: Kube, namespace: str) -> None:
    """A default of a newer version would be a field that an older operator doesn't know."""
    body = rollout()
    made = await kube.create(names.rollouts_path(namespace), body)
    assert made["spec"] == body["spec"]
    spec = Spec.model_validate(made["spec"])
    assert [step.weight for step in spec.strategy.steps] == [5, 25, 50]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        (
            {"indexCache__pattern": "FFXS"},
            "spec.indexCache.pattern",
            ["found FFXS", "letters F (Full) and S (Shared)", "write one"],
        ),
        ({"indexCache__pattern": "ffss"}, "spec.indexCache.pattern", ["found ffss"]),
        ({"indexCache__pattern": ""}, "spec.indexCache.pattern", []),
        (
            {"indexCache__pattern": "SFFS"},
            "spec.indexCache.pattern",
            ["found SFFS", "expected an F first", "begin with F"],
        ),
        ({"strategy__steps": [{"weight": 25}, {"weight": 5}]}, "spec.strategy.steps", ["fall", "rising"]),
        ({"strategy__steps": [{"weight": 5}, {"weight": 5}]}, "spec.strategy.steps", ["repeat", "rising"]),
        (
            {"strategy__steps": [{"weight": 101}]},
            "spec.strategy.steps[0].weight",
            ["101", "less than or equal to 100"],
        ),
        (
            {"strategy__steps": [{"weight": 0}]},
            "spec.strategy.steps[0].weight",
            ["greater than or equal to 1"],
        ),
        ({"strategy__steps": []}, "spec.strategy.steps", ["at least 1"]),
        (
            {"indexCache__protected": [1, 4, 9]},
            "spec.indexCache.protected",
            ["outside the pattern", "remove"],
        ),
        ({"engine": None}, "spec.engine", ["Required"]),
        ({"engine__image": None}, "spec.engine.image", ["Required"]),
        ({"engine__model": None}, "spec.engine.model", ["Required"]),
        ({"guardrails__overlap__min": 1.5}, "spec.guardrails.overlap.min", ["1.5", "less than 0.98"]),
        ({"guardrails__recall__min": 0}, "spec.guardrails.recall.min", ["expected one", "0.02", "0.98"]),
        (
            {"guardrails__recall__perIndexerMin": 1},
            "spec.guardrails.recall.perIndexerMin",
            ["expected one", "0.02", "0.98"],
        ),
        (
            {"confidence__falseRollback": 0},
            "spec.confidence.falseRollback",
            ["expected one from 0.000001 to 0.5"],
        ),
        ({"confidence__badPromotion": -0.5}, "spec.confidence.badPromotion", ["-0.5"]),
        ({"guardrails__quality": {}}, "spec.guardrails.quality.probes", ["Required"]),
        ({"strategy__exposure": "Surge"}, "spec.strategy.exposure", ["InPlace"]),
        ({"confidence__falseRollback": 1e-17}, "spec.confidence.falseRollback", ["greater than or equal to"]),
        (
            {"confidence__badPromotion": 0.6},
            "spec.confidence.badPromotion",
            ["0.6", "less than or equal to 0.5"],
        ),
        ({"fallback__permit__canary": "soon"}, "spec.fallback.permit.canary", ["soon"]),
        (
            {"fallback__permit__canary": "1ms"},
            "spec.fallback.permit.canary",
            ["found 1ms", "from 1s to 168h"],
        ),
        (
            {"fallback__permit__promoted": "200h"},
            "spec.fallback.permit.promoted",
            ["found 200h", "from 1s to 168h"],
        ),
        ({"fallback__permit__promoted": "9" * 31 + "h"}, "spec.fallback.permit.promoted", []),
        (
            {"strategy__shadow": {"timeout": "0s"}},
            "spec.strategy.shadow.timeout",
            ["found 0s", "from 10s to 720h"],
        ),
        (
            {"strategy__progressDeadline": "0s"},
            "spec.strategy.progressDeadline",
            ["found 0s", "from 10s to 720h"],
        ),
        (
            {"strategy__steps": [{"weight": 5, "minDuration": "721h"}]},
            "spec.strategy.steps[0].minDuration",
            ["found 721h"],
        ),
        (
            {"traffic__httpRoute": {"name": "../../victim/httproutes/chat", "rule": "g"}},
            "spec.traffic.httpRoute.name",
            ["../../victim/httproutes/chat", "should match"],
        ),
        (
            {"traffic__httpRoute": {"name": "r", "rule": "a/b"}},
            "spec.traffic.httpRoute.rule",
            ["should match"],
        ),
        (
            {"guardrails__quality": {"probes": {"configMap": "../../kube-system/secrets/x"}}},
            "spec.guardrails.quality.probes.configMap",
            ["../../kube-system/secrets/x", "should match"],
        ),
        ({"deletionPolicy": "Orphan"}, "spec.deletionPolicy", ["Delete", "Retain"]),
    ],
)
async def test_refuses_by_name(
    kube: Kube, namespace: str, changes: dict[str, Any], field: str, words: list[str]
) -> None:
    message = await refusal(kube, namespace, rollout(**changes))
    assert field in message
    for word in words:
        assert word in message


async def test_refuses_a_name_too_long_for_its_services(kube: Kube, namespace: str) -> None:
    body = rollout()
    body["metadata"] = {"name": "a" * 55}
    message = await refusal(kube, namespace, body)
    assert "metadata.name" in message
    assert "at most 54" in message


async def test_keeps_template_resources_and_backends_whole(kube: Kube, namespace: str) -> None:
    template = {
        "spec": {
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "containers": [{"name": "engine", "env": []}],
        }
    }
    made = await kube.create(
        names.rollouts_path(namespace),
        rollout(engine__template=template, engine__resources={"limits": {"cpu": 1}}),
    )
    assert made["spec"]["engine"]["template"] == template
    backends = [{"name": "r-baseline", "port": 8000, "filters": [{"type": "X"}]}]
    made["status"] = {
        "phase": "Canary",
        "route": {"name": "chat", "rule": "generate", "originalBackends": backends},
        "epoch": 3,
    }
    path = names.rollouts_path(namespace, "r", "status")
    stored = await kube.replace(path, made)
    assert stored["status"]["route"]["originalBackends"] == backends
    assert stored["metadata"]["generation"] == made["metadata"]["generation"]


async def test_a_stale_writer_of_status_is_refused(kube: Kube, namespace: str) -> None:
    made = await kube.create(names.rollouts_path(namespace), rollout())
    path = names.rollouts_path(namespace, "r", "status")
    await kube.replace(path, {**made, "status": {"epoch": 1}})
    with pytest.raises(Conflict):
        await kube.replace(path, {**made, "status": {"epoch": 2}})
    assert (await kube.get(path))["status"]["epoch"] == 1

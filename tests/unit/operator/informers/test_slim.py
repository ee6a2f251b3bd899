"""Tests what is kept of each kind of object: what looks read of it is read of the rest, too."""

import copy
from typing import Any

import pytest
from indexcache_operator import names
from indexcache_operator.informers.slim import SLIM, whole
from indexcache_operator.objects import Object
from indexcache_operator.observe import bindings, pods, runtime
from indexcache_operator.observe.rollout import read
from indexcache_operator.workload.render import Owner, Runtime, render

from tests.credentials import control
from tests.recorded import rollouts
from tests.unit.operator.plan.build import spec
from tests.unit.operator.test_recorded_rollouts import rollout

MANAGED: dict[str, Any] = {"resourceVersion": "1", "managedFields": [{"manager": "m"}]}


def stored(item: Object) -> Object:
    return {**item, "metadata": {**item["metadata"], **MANAGED}, "status": {**item.get("status", {})}}


DEPLOYMENT = stored(
    render(
        spec(),
        Owner(name="chat", namespace="ns", uid="u"),
        Runtime(image="r:1", pull_policy="Always"),
        control("ns", "chat"),
    ).deployment
)
STATES: list[Object] = [
    {"running": {"startedAt": "x"}},
    {"waiting": {"reason": "CrashLoopBackOff", "message": "m"}},
    {"terminated": {"exitCode": 1, "reason": "Error"}},
]


def pod(state: Object, kind: str) -> Object:
    container = {
        "name": "engine",
        "image": "i",
        "imageID": "sha256:1",
        "state": state,
        "lastState": {"terminated": {"exitCode": 3, "reason": "OOMKilled"}},
    }
    return stored(
        {
            "metadata": {"name": "p", "namespace": "ns", **DEPLOYMENT["spec"]["template"]["metadata"]},
            "spec": DEPLOYMENT["spec"]["template"]["spec"],
            "status": {
                "phase": "Running",
                "podIP": "10.0.0.1",
                "hostIP": "10.0.0.9",
                "conditions": [{"type": "Ready", "status": "True"}],
                kind: [container],
            },
        }
    )


@pytest.mark.parametrize("kind", ["containerStatuses", "initContainerStatuses"])
@pytest.mark.parametrize("state", STATES)
def test_a_pod_reads_as_it_does_whole(state: Object, kind: str) -> None:
    item = pod(state, kind)
    kept = SLIM["pods"](item)
    for found in (kept, item):
        found["guard"] = bindings._written(found)
        found["read"] = pods.engine_pod(found, template="t", state=None, error="e")
        found["asked"], found["ended"] = pods.askable(found), pods.ended(found)
    assert {k: kept[k] for k in ("guard", "read", "asked", "ended")} == {
        k: item[k] for k in ("guard", "read", "asked", "ended")
    }
    assert "spec" not in kept
    assert "managedFields" not in kept["metadata"]


def test_a_deployment_reads_as_it_does_whole() -> None:
    kept = SLIM["deployments"](DEPLOYMENT)
    raw = rollout(rollouts.recorded("0.1.0")["promoted"])
    del raw["status"]
    found = read(raw)
    assert runtime.pinned(found, kept, Runtime(image="other:2")) == Runtime(image="r:1", pull_policy="Always")
    assert runtime.pinned(found, DEPLOYMENT, Runtime(image="other:2")) == Runtime(
        image="r:1", pull_policy="Always"
    )
    label = kept["spec"]["template"]["metadata"]["labels"][names.TEMPLATE_LABEL]
    assert label == DEPLOYMENT["spec"]["template"]["metadata"]["labels"][names.TEMPLATE_LABEL]
    assert len(str(kept)) < len(str(DEPLOYMENT)) / 2


def test_a_service_keeps_what_is_compared() -> None:
    item = stored({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 1}], "selector": {"a": "b"}}})
    assert SLIM["services"](item)["spec"] == item["spec"]


def test_other_kinds_are_kept_but_for_who_manages_them_and_nothing_given_is_changed() -> None:
    item = stored(
        {"metadata": {"name": "r", "labels": {"x" * 70: "y" * 70}}, "spec": {"a": [1, {"b": None}]}}
    )
    before = copy.deepcopy(item)
    kept = whole(item)
    assert item == before
    del before["metadata"]["managedFields"]
    assert kept == before


def test_texts_are_shared() -> None:
    first, second = (whole({"metadata": {"name": "".join(["na", "me"])}}) for _ in range(2))
    assert first["metadata"]["name"] is second["metadata"]["name"]

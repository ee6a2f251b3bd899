"""Tests which plugin engines get: the one that was deployed first, whatever the operator comes with since."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_operator import names
from indexcache_operator.api.status import Status
from indexcache_operator.model import Rollout
from indexcache_operator.observe.rollout import read
from indexcache_operator.observe.runtime import pinned, wanted
from indexcache_operator.workload.render import Owner, Runtime, render

from tests.credentials import control

OFFERED = Runtime(image="runtime:2", pull_policy="Always")


def rollout(pinned_in_status: str = "", **engine: Any) -> Rollout:
    """Return a rollout, with what its status has pinned."""
    metadata = {"name": "chat", "namespace": "ns", "uid": "uid", "resourceVersion": "1"}
    spec = {"engine": {"image": "i", "model": "m", **engine}, "indexCache": {"pattern": "FS"}}
    found = read({"metadata": metadata, "spec": spec})
    return replace(found, status=Status(runtime=pinned_in_status))


def deployment(image: str = "runtime:1") -> dict[str, Any]:
    """Return what an operator that came with this image has deployed."""
    spec, owner = rollout().spec, Owner(name="chat", namespace="ns", uid="uid")
    assert spec is not None
    return render(spec, owner, Runtime(image=image, pull_policy="Never"), control("ns", "chat")).deployment


def test_at_first_it_is_what_the_operator_comes_with() -> None:
    assert pinned(rollout(), None, OFFERED) == OFFERED


def test_a_newer_operator_leaves_it() -> None:
    kept = Runtime(image="runtime:1", pull_policy="Never")
    assert pinned(rollout("runtime:1"), deployment(), OFFERED) == kept
    assert pinned(rollout(), deployment(), OFFERED) == kept  # of a status that had no such field


def test_the_status_counts_where_a_deployment_is_gone_or_was_changed_by_hand() -> None:
    assert pinned(rollout("runtime:1"), None, OFFERED) == Runtime(image="runtime:1", pull_policy="Always")
    assert pinned(rollout("runtime:1"), deployment("other:9"), OFFERED).image == "runtime:1"


@pytest.mark.parametrize("what", ["label", "container", "all"])
def test_what_is_not_ours_pins_nothing(what: str) -> None:
    foreign = deployment()
    if what == "label":
        foreign["metadata"]["labels"] = {names.ROLLOUT_LABEL: "other"}
    elif what == "container":
        foreign["spec"]["template"]["spec"]["initContainers"][0]["name"] = "other"
    else:
        del foreign["spec"]["template"]["spec"]["initContainers"]
    assert pinned(rollout(), foreign, OFFERED) == OFFERED


def test_the_spec_may_ask_for_another() -> None:
    kept = Runtime(image="runtime:1")
    assert wanted(rollout(), kept) == kept
    assert wanted(rollout(runtime="runtime:3"), kept).image == "runtime:3"
    assert wanted(replace(rollout(), spec=None), kept) == kept


def test_a_newer_operator_changes_no_pod() -> None:
    """The whole of it: what is rendered is what is deployed."""
    found, there = rollout(), deployment()
    plugin = wanted(found, pinned(found, there, OFFERED))
    assert found.spec is not None
    made = render(found.spec, Owner(name="chat", namespace="ns", uid="uid"), plugin, control("ns", "chat"))
    assert made.deployment == there

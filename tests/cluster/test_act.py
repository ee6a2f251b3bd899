"""Acting on a real API server: applied once, drift seen, foreign things left alone, writers fenced."""

import asyncio
import base64
from dataclasses import replace
from typing import Any

import pytest
from indexcache_operator import names
from indexcache_operator.act import finalizer, labels, workload
from indexcache_operator.act.status import StatusWriter
from indexcache_operator.act.workload import ForeignObject
from indexcache_operator.api.status import Phase, Status
from indexcache_operator.credentials import Binding, Credentials
from indexcache_operator.kube import Conflict, NotFound
from indexcache_operator.model import SetLabels
from indexcache_operator.observe.look import Sight
from indexcache_operator.workload.render import Runtime

from tests.cluster.act_world import World

DEPLOYMENTS = "apis/apps/v1"


async def test_applies_what_a_look_finds_missing(world: World) -> None:
    assert not (await world.look()).observation.workload_current
    look = await world.ensure()
    assert look.observation.workload_current
    assert look.control is not None
    secret = await world.kube.get(world.path("secrets", look.control.secret))
    assert base64.b64decode(secret["data"]["token"]).decode() == look.control.token
    deployment = await world.kube.get(world.path("deployments", "r", DEPLOYMENTS))
    assert deployment["metadata"]["ownerReferences"][0]["uid"] == look.rollout.uid
    assert [o["uid"] for o in secret["metadata"]["ownerReferences"]] == [deployment["metadata"]["uid"]]
    assert look.deployment_uid == deployment["metadata"]["uid"]
    assert deployment["spec"]["selector"]["matchLabels"] == {
        names.ROLLOUT_LABEL: "r",
        names.ENGINE_LABEL: "true",
    }


async def test_applying_again_writes_nothing(world: World) -> None:
    first = await world.ensure()
    assert first.control is not None
    paths = [
        world.path("deployments", "r", DEPLOYMENTS),
        world.path("services", "r-canary"),
        world.path("secrets", first.control.secret),
    ]
    before = [(await world.kube.get(p))["metadata"]["resourceVersion"] for p in paths]
    again = await world.ensure()
    assert [(await world.kube.get(p))["metadata"]["resourceVersion"] for p in paths] == before
    assert again.control == first.control


async def test_another_uid_and_another_key_change_no_pod(world: World) -> None:
    """A rollout is deleted with policy Retain and made again, and the operator has a newer key."""
    first = await world.ensure()
    deployment = await world.kube.get(world.path("deployments", "r", DEPLOYMENTS))
    await world.again()
    keys = {"1": b"k" * 32, "2": b"n" * 32}
    object.__setattr__(world.observer, "credentials", Credentials(keys=lambda: keys))
    second = await world.ensure()
    adopted = await world.kube.get(world.path("deployments", "r", DEPLOYMENTS))
    assert second.rollout.uid != first.rollout.uid
    assert [o["uid"] for o in adopted["metadata"]["ownerReferences"]] == [second.rollout.uid]
    assert second.control == first.control
    assert adopted["spec"]["template"] == deployment["spec"]["template"]
    assert len(await world.kube.select(names.object_path("api/v1", "secrets", world.namespace))) == 1
    # Without the annotation its engines are bound anew: to this rollout, and to the newest key.
    await world.kube.patch(
        world.path("deployments", "r", DEPLOYMENTS),
        {"metadata": {"annotations": {names.CONTROL_ANNOTATION: None}}},
    )
    assert not (await world.look()).observation.workload_current
    third = await world.ensure()
    assert third.control is not None
    assert third.control.binding == Binding(uid=second.rollout.uid, key_id="2")
    template = (await world.kube.get(world.path("deployments", "r", DEPLOYMENTS)))["spec"]["template"]
    assert template["metadata"]["annotations"][names.CONTROL_ANNOTATION] == str(third.control.binding)
    assert [v["secret"]["secretName"] for v in template["spec"]["volumes"] if "secret" in v] == [
        third.control.secret
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"replicas": 7}},
        {"spec": {"template": {"spec": {"priorityClassName": "x", "enableServiceLinks": True}}}},
    ],
)
async def test_sees_what_others_changed(world: World, change: dict[str, Any]) -> None:
    await world.ensure()
    await world.kube.patch(world.path("deployments", "r", DEPLOYMENTS), change)
    assert not (await world.look()).observation.workload_current
    assert (await world.ensure()).observation.workload_current


async def test_sees_a_service_turned_elsewhere(world: World) -> None:
    await world.ensure()
    await world.kube.patch(
        world.path("services", "r-canary"), {"spec": {"selector": {names.CANARY_LABEL: "false"}}}
    )
    assert not (await world.look()).observation.workload_current


async def test_another_pattern_changes_no_pod(world: World) -> None:
    await world.ensure()
    await world.kube.patch(
        names.rollouts_path(world.namespace, "r"), {"spec": {"indexCache": {"pattern": "FF"}}}
    )
    assert (await world.look()).observation.workload_current


async def test_an_operator_with_another_plugin_changes_no_pod_until_the_spec_asks_for_it(
    world: World,
) -> None:
    await world.ensure()
    newer = replace(world.observer, runtime=Runtime(image="runtime:2", pull_policy="Always"))
    world.observer, world.sight = newer, Sight()
    look = (await world.look()).observation
    assert look.workload_current
    assert (look.pinned_runtime, look.offered_runtime) == ("runtime:1", "runtime:2")
    await world.kube.patch(
        names.rollouts_path(world.namespace, "r"), {"spec": {"engine": {"runtime": "runtime:2"}}}
    )
    assert not (await world.look()).observation.workload_current
    assert (await world.ensure()).observation.workload_current
    deployed = await world.kube.get(world.path("deployments", "r", DEPLOYMENTS))
    assert deployed["spec"]["template"]["spec"]["initContainers"][0]["image"] == "runtime:2"


async def test_takes_over_nothing_of_somebody_elses(world: World) -> None:
    body = {"metadata": {"name": "r-canary"}, "spec": {"ports": [{"port": 80}], "selector": {"app": "other"}}}
    await world.kube.create(names.object_path("api/v1", "services", world.namespace), body)
    with pytest.raises(ForeignObject, match="r-canary"):
        await world.ensure()
    await workload.delete(world.kube, world.owner(await world.look()))
    assert (await world.kube.get(world.path("services", "r-canary")))["spec"]["selector"] == {"app": "other"}


async def test_deletes_all_of_its_own(world: World) -> None:
    look = await world.ensure()
    await workload.delete(world.kube, world.owner(look))
    for path in workload.paths(world.owner(look)):
        with pytest.raises(NotFound):
            await world.kube.get(path)
    await workload.delete(world.kube, world.owner(look))


async def test_releases_its_own_to_nobody(world: World) -> None:
    owner = world.owner(await world.ensure())
    await workload.release(world.kube, owner)
    released = [await world.kube.get(path) for path in workload.paths(owner)]
    assert not [found["metadata"]["name"] for found in released if found["metadata"].get("ownerReferences")]
    await workload.release(world.kube, owner)
    for path, before in zip(workload.paths(owner), released, strict=True):
        assert (await world.kube.get(path))["metadata"]["resourceVersion"] == before["metadata"][
            "resourceVersion"
        ], path
    # A later rollout of the name takes them over.
    await world.ensure()
    for path in workload.paths(owner):
        assert [o["uid"] for o in (await world.kube.get(path))["metadata"]["ownerReferences"]] == [owner.uid]


async def test_releases_no_other_owners_and_nothing_foreign(world: World) -> None:
    owner = world.owner(await world.ensure())
    services = [world.path("services", name) for name in ("r-baseline", "r-canary")]
    other = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "c",
        "uid": "0c0ffee0-0000-0000-0000-000000000000",
    }
    ours = (await world.kube.get(services[0]))["metadata"]["ownerReferences"]
    await world.kube.patch(services[0], {"metadata": {"ownerReferences": [*ours, other]}})
    await world.kube.patch(services[1], {"metadata": {"labels": {names.ROLLOUT_LABEL: "else"}}})
    await workload.release(world.kube, owner)
    assert [o["uid"] for o in (await world.kube.get(services[0]))["metadata"]["ownerReferences"]] == [
        other["uid"]
    ]
    assert (await world.kube.get(services[1]))["metadata"]["ownerReferences"] == ours


async def test_labels_move_a_pod_between_services(world: World) -> None:
    body = {
        "metadata": {
            "name": "p",
            "labels": {names.ROLLOUT_LABEL: "r", names.ENGINE_LABEL: "true", names.BASELINE_LABEL: "true"},
        },
        "spec": {"containers": [{"name": "engine", "image": "i"}]},
    }
    await world.kube.create(names.object_path("api/v1", "pods", world.namespace), body)
    for baseline, canary in ((True, True), (False, True), (True, False)):
        seen = (await world.look()).pods["p"]
        wanted = SetLabels(pod="p", baseline=baseline, canary=canary)
        await labels.put(world.kube, world.namespace, wanted, seen)
        pod = (await world.look()).observation.pods[0]
        assert (pod.baseline_label, pod.canary_label) == (baseline, canary)
    gone = SetLabels(pod="gone", baseline=True, canary=False)
    with pytest.raises(NotFound):
        await labels.put(world.kube, world.namespace, gone, seen)


async def test_labels_are_written_as_they_were_looked_at_whatever_else_a_pod_says_since(world: World) -> None:
    ours = {names.ROLLOUT_LABEL: "r", names.ENGINE_LABEL: "true"}
    path = world.path("pods", "p")
    body = {"metadata": {"name": "p", "labels": ours}, "spec": {"containers": [{"name": "e", "image": "i"}]}}
    await world.kube.create(names.object_path("api/v1", "pods", world.namespace), body)
    seen = (await world.look()).pods["p"]
    await world.kube.patch(path, {"metadata": {"annotations": {"a-kubelet": "says something"}}})
    await labels.put(world.kube, world.namespace, SetLabels(pod="p", baseline=True, canary=False), seen)
    with pytest.raises(Conflict):  # it was moved since
        await labels.put(world.kube, world.namespace, SetLabels(pod="p", baseline=False, canary=True), seen)
    found = (await world.kube.select(names.object_path("api/v1", "pods", world.namespace)))[0]
    assert names.CANARY_LABEL not in found["metadata"]["labels"]


async def test_what_others_applied_or_made_again_meanwhile_is_neither_overwritten_nor_deleted(
    world: World,
) -> None:
    """A late write of an operator that leads no longer: the object isn't the one that it looked at."""
    look = await world.ensure()
    assert look.workload is not None
    path, body = workload.objects(look.workload, world.namespace)[-1]
    found = await world.kube.get(path)
    await world.kube.patch(path, {"spec": {"replicas": 7}})
    with pytest.raises(Conflict):
        await world.kube.apply(path, workload._fenced(body, found))
    with pytest.raises(Conflict):
        await world.kube.delete(path, uid="another")
    assert (await world.kube.get(path))["spec"]["replicas"] == 7


async def test_the_finalizer_holds_and_lets_go(world: World) -> None:
    await world.kube.patch(
        names.rollouts_path(world.namespace, "r"), {"metadata": {"finalizers": ["other.dev/x"]}}
    )
    await finalizer.hold(world.kube, (await world.look()).rollout.raw)
    await world.kube.delete(names.rollouts_path(world.namespace, "r"))
    look = await world.look()
    assert look.observation.deleting
    assert look.rollout.held
    await finalizer.let_go(world.kube, look.rollout.raw)
    look = await world.look()
    assert look.rollout.raw["metadata"]["finalizers"] == ["other.dev/x"]
    await world.kube.patch(names.rollouts_path(world.namespace, "r"), {"metadata": {"finalizers": None}})
    assert await world.observer.look(world.namespace, "r", world.sight) is None
    await finalizer.let_go(world.kube, look.rollout.raw)


async def test_a_status_is_fenced_by_the_version_looked_at(world: World) -> None:
    writer, look = StatusWriter(), await world.look()
    stored = await writer.write(world.kube, look.rollout.raw, Status(phase=Phase.CANARY, epoch=4))
    assert (await world.look()).rollout.status == Status(phase=Phase.CANARY, epoch=4)
    with pytest.raises(Conflict):
        await writer.write(world.kube, look.rollout.raw, Status(epoch=3))
    await writer.write(world.kube, stored, Status(epoch=5))
    raw = (await world.look()).rollout.raw
    both = (writer.write(world.kube, raw, Status(epoch=epoch)) for epoch in (6, 7))
    results = await asyncio.gather(*both, return_exceptions=True)
    assert sum(isinstance(result, Conflict) for result in results) == 1

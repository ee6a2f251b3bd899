"""Tests the loop where control tokens, their Secrets or their keys are lost or others'."""

import asyncio

import pytest
from indexcache_operator import names
from indexcache_operator.credentials import Credentials
from indexcache_operator.engines import EngineError, Engines, Told
from indexcache_operator.model import EnsureWorkload

from tests.cluster.scene import Scene, make_pod, running
from tests.credentials import control


async def test_a_secret_that_is_lost_comes_back_for_the_pods_that_wait_for_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is deleted while the rollout rests; then a pod comes that can't start without it."""
    monkeypatch.setattr("indexcache_operator.act.control_secret.AGAIN_SECONDS", 0.0)
    loop = scene.loop(lambda o: (o.status, [] if o.workload_current else [EnsureWorkload()]), wait=0.05)
    secrets = names.object_path("api/v1", "secrets", scene.namespace)
    async with running(loop):

        async def there() -> bool:
            return bool(await scene.kube.select(secrets))

        await scene.eventually(there)
        (made,) = await scene.kube.select(secrets)
        await scene.kube.delete(f"{secrets}/{made['metadata']['name']}")
        await make_pod(scene)
        await scene.eventually(there)
        (again,) = await scene.kube.select(secrets)
    assert again["metadata"]["uid"] != made["metadata"]["uid"]
    assert again["data"] == made["data"]
    assert [again["metadata"][key] for key in ("name", "ownerReferences")] == [
        made["metadata"][key] for key in ("name", "ownerReferences")
    ]


async def test_an_engine_with_another_token_says_which_secret_to_delete(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refusing(self: Engines, ip: str, known: str = "") -> Told:
        raise EngineError("401", "Unauthorized")

    monkeypatch.setattr(Engines, "ask", refusing)
    guard = control(scene.namespace, "r", "u")
    await make_pod(scene, {names.CONTROL_ANNOTATION: str(guard.binding)})
    async with running(scene.loop(lambda o: (o.status, []))):
        await asyncio.wait_for(scene.fresh.wait(), 60)
    (pod,) = scene.seen[-1].pods
    assert pod.error is not None
    assert f"Secret {guard.secret} isn't the operator's; delete it" in pod.error[:256]


async def test_engines_bound_to_a_key_that_is_lost_are_left_alone_and_it_is_named(scene: Scene) -> None:
    """Nothing is applied, so no engine is started anew; nor is the rollout's spec at fault."""
    deployments = names.object_path("apis/apps/v1", "deployments", scene.namespace)
    loop = scene.loop(lambda o: (o.status, [] if o.workload_current else [EnsureWorkload()]), wait=0.05)
    async with running(loop):

        async def applied() -> bool:
            return bool(await scene.kube.select(deployments)) and scene.seen[-1].workload_current

        await scene.eventually(applied)
    (before,) = await scene.kube.select(deployments)
    object.__setattr__(loop.observer, "credentials", Credentials(keys=lambda: {"2": b"x" * 32}))
    scene.seen.clear()
    async with running(loop):

        async def looked() -> bool:
            return len(scene.seen) >= 3

        await scene.eventually(looked)
    (after,) = await scene.kube.select(deployments)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert "the control token: found engines bound to control key 1" in scene.seen[-1].unread[0]
    assert scene.seen[-1].spec_problem is None
    assert not await scene.kube.select(names.object_path("api/v1", "events", scene.namespace))

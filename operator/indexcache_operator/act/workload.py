"""The rollout's own objects: applied, deleted, or let go. Idempotent: server-side apply of what is already so
writes nothing.
"""

import asyncio

from indexcache_operator import names
from indexcache_operator.kube import Kube, NotFound
from indexcache_operator.objects import Object
from indexcache_operator.workload.render import Owner, Workload


class ForeignObject(Exception):
    """An object of ours would take the name of somebody else's."""


async def ensure(kube: Kube, workload: Workload, owner: Owner) -> str:
    """Apply Services and Deployment, in this order, so that a pod that is ready finds its Service. Return the
    Deployment's uid.

    Raises KubeError, ForeignObject; Conflict if somebody else wrote one of them meanwhile.
    """
    found = {
        path: await _ours(kube, path, body["kind"], owner.name)
        for path, body in objects(workload, owner.namespace)
    }
    applied: Object = {}
    for path, body in objects(workload, owner.namespace):
        applied = await kube.apply(path, _fenced(body, found[path]))
    uid: str = applied["metadata"]["uid"]
    return uid


async def release(kube: Kube, owner: Owner) -> None:
    """Make the objects no longer the rollout's, so that its end isn't theirs; else leave them as they are,
    whatever its spec says by now. Raises KubeError.
    """
    await asyncio.gather(*(_release_ours(kube, path, owner) for path in paths(owner)))


async def delete(kube: Kube, owner: Owner) -> None:
    """Delete the objects that carry the rollout's label; they are gone then, or going. Raises KubeError."""
    await asyncio.gather(*(_delete_ours(kube, path, owner.name) for path in paths(owner)))


def objects(workload: Workload, namespace: str) -> list[tuple[str, Object]]:
    """Return Services and Deployment with their paths."""
    services = [
        (names.object_path("api/v1", "services", namespace, s["metadata"]["name"]), s)
        for s in workload.services
    ]
    deployment = names.object_path(
        "apis/apps/v1", "deployments", namespace, workload.deployment["metadata"]["name"]
    )
    return [*services, (deployment, workload.deployment)]


def paths(owner: Owner) -> list[str]:
    """Return the paths of everything that a rollout owns itself."""
    services = [names.baseline_service(owner.name), names.canary_service(owner.name)]
    return [
        names.object_path("apis/apps/v1", "deployments", owner.namespace, owner.name),
        *(names.object_path("api/v1", "services", owner.namespace, service) for service in services),
    ]


async def _ours(kube: Kube, path: str, kind: str, rollout: str) -> Object | None:
    """Return the object at the path, if there is one. Raises ForeignObject if it isn't the rollout's."""
    try:
        found = await kube.get(path)
    except NotFound:
        return None
    given = (found["metadata"].get("labels") or {}).get(names.ROLLOUT_LABEL)
    if given != rollout:
        name = found["metadata"]["name"]
        raise ForeignObject(
            f"{kind} {name}: found one that carries no label {names.ROLLOUT_LABEL}={rollout}; expected "
            "none, or the rollout's own; rename the rollout, or delete that object"
        )
    return found


async def _release_ours(kube: Kube, path: str, owner: Owner) -> None:
    try:
        found = await _ours(kube, path, "", owner.name)
    except ForeignObject:
        return  # not ours to release
    owners = found["metadata"].get("ownerReferences") or [] if found else []
    kept = [reference for reference in owners if reference["uid"] != owner.uid]
    if kept != owners:
        assert found is not None
        await kube.patch(path, _fenced({"metadata": {"ownerReferences": kept or None}}, found))


async def _delete_ours(kube: Kube, path: str, rollout: str) -> None:
    try:
        found = await _ours(kube, path, "", rollout)
        if found is not None:
            await kube.delete(path, uid=found["metadata"]["uid"])
    except ForeignObject:
        return  # not ours to delete


def _fenced(body: Object, found: Object | None) -> Object:
    """Return a body that the API server takes only while the object is as it was found."""
    version = {"resourceVersion": found["metadata"]["resourceVersion"]} if found else {}
    return {**body, "metadata": {**body["metadata"], **version}}

"""Tells whether the objects in the cluster are those that the spec wants, whoever changed them since.

A hash on the Deployment tells what was last applied; whether somebody has changed it since, only the API
server can say, as it alone knows how it writes a quantity or a default. So it is asked, by a server-side
apply that is not stored: if that would not move the Deployment's generation, nothing differs. The answer
holds for a generation, so a steady state asks nothing.
"""

from dataclasses import dataclass

from indexcache_operator import names
from indexcache_operator.kube import Kube, KubeError
from indexcache_operator.objects import Object
from indexcache_operator.workload.render import Workload


@dataclass
class Confirmed:
    """The Deployment last found to be as wanted: its uid, its generation, and what was wanted."""

    at: tuple[str, int, str] | None = None


REFUSED = (400, 422)
"""HTTP statuses of an object that the API server will not have, whoever asks."""
OF_NO_TYPE = "failed to create typed patch object"
"""What it says, with status 500, of one that has a value of another type than its field's."""


async def current(
    kube: Kube,
    wanted: Workload,
    deployment: Object | None,
    services: tuple[Object | None, Object | None],
    confirmed: Confirmed,
) -> tuple[bool, str | None]:
    """Return whether nothing is left to apply, and where the API server will not have the Deployment, why.

    Raises KubeError where it can't be asked.
    """
    same = deployment is not None and _same(wanted, deployment, services)
    here = (
        (deployment["metadata"]["uid"], deployment["metadata"]["generation"], wanted.digest)
        if deployment is not None
        else None
    )
    if same and confirmed.at == here:
        return True, None
    if deployment is not None and not _ours(wanted, deployment):
        return False, None  # applying says whose it is
    refused, generation = await _applied(kube, wanted)
    if refused is not None or deployment is None or not same:
        return False, refused
    if generation != deployment["metadata"]["generation"]:
        return False, None
    confirmed.at = here
    return True, None


async def _applied(kube: Kube, wanted: Workload) -> tuple[str | None, int]:
    """Apply the Deployment without storing it. Return why it is refused, or the generation it would have."""
    metadata = wanted.deployment["metadata"]
    path = names.object_path("apis/apps/v1", "deployments", metadata["namespace"], metadata["name"])
    try:
        applied = await kube.apply(path, wanted.deployment, dry_run=True)
    except KubeError as error:
        if not refuses(error):
            raise
        found = f"the API server refuses the Deployment: {error.message}"
        return f"spec.engine: {found}; expected one that it takes; correct it", 0
    return None, applied["metadata"]["generation"]


def refuses(error: KubeError) -> bool:
    """Return whether an error says that the object is wrong, and not that the API server has trouble."""
    return error.status in REFUSED or (error.status == 500 and OF_NO_TYPE in error.message)


def _same(wanted: Workload, deployment: Object, services: tuple[Object | None, Object | None]) -> bool:
    """Return whether all is there as it was last applied, as far as that can be told without the API
    server.
    """
    if not all(_same_service(w, found) for w, found in zip(wanted.services, services, strict=True)):
        return False
    applied = (deployment["metadata"].get("annotations") or {}).get(names.APPLIED_ANNOTATION)
    return applied == wanted.digest and _owned(wanted.deployment, deployment)


def _ours(wanted: Workload, deployment: Object) -> bool:
    label = names.ROLLOUT_LABEL
    return bool(
        (deployment["metadata"].get("labels") or {}).get(label)
        == wanted.deployment["metadata"]["labels"][label]
    )


def _same_service(wanted: Object, found: Object | None) -> bool:
    if found is None or not _owned(wanted, found):
        return False
    ports = [
        {k: p.get(k) for k in ("name", "port", "targetPort", "protocol")}
        for p in found["spec"].get("ports", [])
    ]
    return bool(
        found["spec"].get("selector") == wanted["spec"]["selector"] and ports == wanted["spec"]["ports"]
    )


def _owned(wanted: Object, found: Object) -> bool:
    """Return whether every owner wanted is there."""
    uids = {o["uid"] for o in found["metadata"].get("ownerReferences") or []}
    return all(o["uid"] in uids for o in wanted["metadata"].get("ownerReferences") or [])

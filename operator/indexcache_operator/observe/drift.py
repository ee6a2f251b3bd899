"""Whether the objects in the cluster are those that the spec wants, whoever changed them since.

A hash on the Deployment tells what was last applied; whether somebody has changed it since, only the API server can say, as it alone
knows how it writes a quantity or a default. So it is asked, by a server-side apply that is not stored: if that would not move the
Deployment's generation, nothing differs. The answer holds for a generation, so a steady state asks nothing.
"""

from dataclasses import dataclass

from indexcache_operator import names
from indexcache_operator.kube import Kube
from indexcache_operator.objects import Object
from indexcache_operator.workload.render import Workload


@dataclass
class Confirmed:
    """The Deployment last found to be as wanted: its uid, its generation, and what was wanted."""

    at: tuple[str, int, str] | None = None


async def current(
    kube: Kube, wanted: Workload, deployment: Object | None, services: tuple[Object | None, Object | None], confirmed: Confirmed
) -> bool:
    """Whether nothing is left to apply. KubeError."""
    if deployment is None or not all(_same_service(w, found) for w, found in zip(wanted.services, services, strict=True)):
        return False
    metadata = deployment["metadata"]
    if (metadata.get("annotations") or {}).get(names.APPLIED_ANNOTATION) != wanted.digest:
        return False
    if not _owned(wanted.deployment, deployment):
        return False
    here = (metadata["uid"], metadata["generation"], wanted.digest)
    if confirmed.at != here:
        path = names.object_path("apis/apps/v1", "deployments", metadata["namespace"], metadata["name"])
        applied = await kube.apply(path, wanted.deployment, dry_run=True)
        if applied["metadata"]["generation"] != metadata["generation"]:
            return False
        confirmed.at = here
    return True


def _same_service(wanted: Object, found: Object | None) -> bool:
    if found is None or not _owned(wanted, found):
        return False
    ports = [{k: p.get(k) for k in ("name", "port", "targetPort", "protocol")} for p in found["spec"].get("ports", [])]
    return bool(found["spec"].get("selector") == wanted["spec"]["selector"] and ports == wanted["spec"]["ports"])


def _owned(wanted: Object, found: Object) -> bool:
    """Whether every owner wanted is there."""
    uids = {o["uid"] for o in found["metadata"].get("ownerReferences") or []}
    return all(o["uid"] in uids for o in wanted["metadata"].get("ownerReferences") or [])

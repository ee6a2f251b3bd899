"""Our finalizer on the rollout: no rollout goes while reuse may be on or the user's route is changed.

Kopf's own finalizer is not used: for a resource that is being deleted when the operator starts it would run
no daemon and let it go.
"""

from indexcache_operator import names
from indexcache_operator.kube import Kube, NotFound
from indexcache_operator.objects import Object


async def hold(kube: Kube, raw: Object) -> None:
    """Put it on. Raises Conflict, KubeError."""
    await _write(kube, raw, [*(raw["metadata"].get("finalizers") or []), names.FINALIZER])


async def let_go(kube: Kube, raw: Object) -> None:
    """Take it off; a rollout that has gone is no error. Raises Conflict, KubeError."""
    kept = [f for f in raw["metadata"].get("finalizers") or [] if f != names.FINALIZER]
    try:
        await _write(kube, raw, kept)
    except NotFound:
        return


async def _write(kube: Kube, raw: Object, finalizers: list[str]) -> None:
    metadata = raw["metadata"]
    path = names.rollouts_path(metadata["namespace"], metadata["name"])
    await kube.patch(
        path, {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": finalizers or None}}
    )

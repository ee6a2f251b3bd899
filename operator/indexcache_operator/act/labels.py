"""Sets which Services a pod stands behind.

A pod's object changes whenever its kubelet says something new, so a version that was looked at is soon an old
one. Where a write finds it is, the pod is read anew: if its labels are still those that were looked at, what
was decided still holds, else somebody else has decided something and this is a conflict.
"""

from indexcache_operator import names
from indexcache_operator.kube import Conflict, Kube
from indexcache_operator.model import SetLabels
from indexcache_operator.objects import Object

LABELS = (names.BASELINE_LABEL, names.CANARY_LABEL)


async def put(kube: Kube, namespace: str, action: SetLabels, seen: Object) -> None:
    """Write both labels. `seen`: the metadata of the pod as it was looked at.

    Raises NotFound if the pod has gone, Conflict if somebody else has moved it since; KubeError.
    """
    try:
        await _patch(kube, namespace, action, seen)
    except Conflict:
        now = await _metadata(kube, namespace, action.pod, seen)
        if now is None or _behind(now) != _behind(seen) or now["uid"] != seen["uid"]:
            raise
        await _patch(kube, namespace, action, now)


async def _patch(kube: Kube, namespace: str, action: SetLabels, seen: Object) -> None:
    labels = {
        names.BASELINE_LABEL: "true" if action.baseline else None,
        names.CANARY_LABEL: "true" if action.canary else None,
    }
    body = {"metadata": {"resourceVersion": seen["resourceVersion"], "labels": labels}}
    await kube.patch(names.object_path("api/v1", "pods", namespace, action.pod), body)


async def _metadata(kube: Kube, namespace: str, pod: str, seen: Object) -> Object | None:
    """Return the metadata of a pod as it is now. It is listed, beside its rollout's others: the operator has
    no right to get one.
    """
    ours = {
        k: v for k, v in (seen.get("labels") or {}).items() if k in (names.ROLLOUT_LABEL, names.ENGINE_LABEL)
    }
    found = await kube.select(names.object_path("api/v1", "pods", namespace), ours)
    return next((item["metadata"] for item in found if item["metadata"]["name"] == pod), None)


def _behind(metadata: Object) -> tuple[str | None, ...]:
    labels = metadata.get("labels") or {}
    return tuple(labels.get(label) for label in LABELS)

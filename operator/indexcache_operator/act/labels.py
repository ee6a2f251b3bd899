"""Sets which Services a pod stands behind."""

from indexcache_operator import names
from indexcache_operator.kube import Kube
from indexcache_operator.model import SetLabels


async def put(kube: Kube, namespace: str, action: SetLabels) -> None:
    """Write both labels. Raises NotFound if the pod has gone; KubeError."""
    labels = {
        names.BASELINE_LABEL: "true" if action.baseline else None,
        names.CANARY_LABEL: "true" if action.canary else None,
    }
    await kube.patch(
        names.object_path("api/v1", "pods", namespace, action.pod), {"metadata": {"labels": labels}}
    )

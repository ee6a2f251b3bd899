"""Kubernetes Events on a rollout."""

from datetime import UTC, datetime
from typing import Any

from indexcache_operator import names
from indexcache_operator.api.base import GROUP, KIND, VERSION
from indexcache_operator.kube import Kube
from indexcache_operator.model import Event

MAX_MESSAGE = 1024  # the API's own limit


async def emit(kube: Kube, *, namespace: str, name: str, uid: str, event: Event) -> None:
    """Write one Event. Raises KubeError."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    body: dict[str, Any] = {
        "metadata": {"generateName": f"{name}.", "namespace": namespace},
        "involvedObject": {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "namespace": namespace,
            "name": name,
            "uid": uid,
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message[:MAX_MESSAGE],
        "source": {"component": names.FIELD_MANAGER},
        "reportingComponent": names.FIELD_MANAGER,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    await kube.create(names.object_path("api/v1", "events", namespace), body)

"""Engine pods as the kubelet reports them. Pure."""

from indexcache_core.contract import State

from indexcache_operator import names
from indexcache_operator.model import EnginePod
from indexcache_operator.objects import Object

_TRANSIENT = {"PodInitializing", "ContainerCreating"}


def engine_pod(
    raw: Object, *, template: str | None, state: State | None, error: str | None, silent: bool = False
) -> EnginePod:
    """Return one pod, with what its engine said. `template` is the hash that pods of the present template
    carry."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    labels = metadata.get("labels") or {}
    return EnginePod(
        name=metadata["name"],
        ip=status.get("podIP"),
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or []),
        deleting=bool(metadata.get("deletionTimestamp")),
        current=template is not None and labels.get(names.TEMPLATE_LABEL) == template,
        baseline_label=labels.get(names.BASELINE_LABEL) == "true",
        canary_label=labels.get(names.CANARY_LABEL) == "true",
        state=state,
        error=error,
        silent=silent,
        problem=problem(status),
    )


def askable(raw: Object) -> str | None:
    """Return the address at which a pod's engine may answer; None if none can."""
    status = raw.get("status") or {}
    ip: str | None = status.get("podIP")
    return ip if status.get("phase") == "Running" else None


def ended(raw: Object) -> bool:
    """Return whether a pod has ended for good, evicted for example: its object may stay for days, and no
    engine is in it.
    """
    return (raw.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def problem(status: Object) -> str | None:
    """Return why a pod is not ready, in the kubelet's words; None while it only takes its time."""
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"not scheduled: {condition.get('message') or condition.get('reason', '')}"
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        found = _container_problem(container)
        if found:
            return f"container {container['name']}: {found}"
    return None


def _container_problem(container: Object) -> str | None:
    state = container.get("state") or {}
    waiting, terminated = state.get("waiting"), state.get("terminated")
    if waiting and waiting.get("reason") not in _TRANSIENT:
        last = ((container.get("lastState") or {}).get("terminated")) or {}
        ended = f"; last ended with code {last['exitCode']} ({last.get('reason', '')})" if last else ""
        return f"{waiting.get('reason', 'waiting')}: {waiting.get('message', '')}{ended}".rstrip(": ")
    if terminated and terminated.get("exitCode"):
        return (
            f"ended with code {terminated['exitCode']} ({terminated.get('reason', '')}) "
            f"{terminated.get('message', '')}"
        ).strip()
    return None

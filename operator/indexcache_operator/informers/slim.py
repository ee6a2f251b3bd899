"""Tells what of each object is kept: what a look reads, or what is written back. Pure.

A thousand rollouts have thousands of pods and Deployments, most of whose text is a template that nobody
reads here. Rollouts and routes are kept whole, as they are written back.
"""

import sys
from collections.abc import Callable
from typing import Any

from indexcache_operator.objects import Object

Slim = Callable[[Object], Object]
INTERNED = 64
"""Characters of a text that is kept once, however often it is met: names of fields, labels, phases."""
CONTAINER = ("name", "state", "lastState")
"""Fields of a container's status that say why a pod isn't ready."""


def whole(item: Object) -> Object:
    """Return an object without the record of who manages which field, often its larger half."""
    metadata = {name: value for name, value in item["metadata"].items() if name != "managedFields"}
    out: Object = _shared({**item, "metadata": metadata})
    return out


def pod(item: Object) -> Object:
    """Return a pod without its spec, and without what its status says of images and volumes."""
    status = dict(item.get("status") or {})
    kept = {name: status[name] for name in ("phase", "podIP", "conditions") if name in status}
    for name in ("initContainerStatuses", "containerStatuses"):
        if status.get(name):
            kept[name] = [{k: c[k] for k in CONTAINER if k in c} for c in status[name]]
    return whole({"metadata": item["metadata"], "status": kept})


def deployment(item: Object) -> Object:
    """Return a Deployment without its status, and of its template the labels and the init containers."""
    spec = item.get("spec") or {}
    template = spec.get("template") or {}
    metadata, containers = template.get("metadata") or {}, (template.get("spec") or {}).get("initContainers")
    kept = {
        "metadata": {"labels": metadata.get("labels") or {}},
        "spec": {"initContainers": [_image(container) for container in containers or []]},
    }
    return whole({"metadata": item["metadata"], "spec": {"template": kept}})


def service(item: Object) -> Object:
    """Return a Service without its status."""
    return whole({"metadata": item["metadata"], "spec": item.get("spec") or {}})


def _image(container: Object) -> Object:
    return {k: container[k] for k in ("name", "image", "imagePullPolicy") if k in container}


def _shared(value: Any) -> Any:  # Any: JSON
    """Return a JSON value whose short texts are shared with all others that hold the same."""
    if isinstance(value, dict):
        return {sys.intern(name): _shared(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_shared(part) for part in value]
    if isinstance(value, str) and len(value) <= INTERNED:
        return sys.intern(value)
    return value


SLIM: dict[str, Slim] = {"pods": pod, "deployments": deployment, "services": service}
"""By plural; other kinds are kept whole."""

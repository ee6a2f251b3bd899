"""Tells what of each object is kept: what a look reads, or what is written back. Pure.

A thousand rollouts have thousands of pods and Deployments, most of whose text is a template that nobody
reads here. Rollouts and routes are kept whole, as they are written back.
"""

import sys
from collections.abc import Callable, Hashable
from typing import Any

from indexcache_operator.objects import Object

Slim = Callable[[Object], Object]
INTERNED = 64
"""Characters of a text that is kept once, however often it is met: names of fields, labels, phases."""
SMALL = 4
"""Parts of a list or an object that is kept once as a whole: owners, ports, labels, conditions."""
KEPT = 2000
"""So many of them are remembered."""
CONTAINER = ("name", "state", "lastState")
"""Fields of a container's status that say why a pod isn't ready."""


_kept: dict[Hashable, Any] = {}


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
    """Return a JSON value that shares short texts, and small parts of this object's own and of the ones
    before it, with all that hold the same.
    """
    return _canonical(value)[0]


def _canonical(value: Any) -> tuple[Any, Hashable | None]:
    """Return a shared value, and what tells it from others; None for one that is too large to be shared."""
    if isinstance(value, str):
        return (sys.intern(value), value) if len(value) <= INTERNED else (value, None)
    if not isinstance(value, dict | list):
        return value, (type(value), value)
    if isinstance(value, dict):
        parts = {sys.intern(name): _canonical(part) for name, part in value.items()}
        made: Any = {name: part for name, (part, _) in parts.items()}
        keys: tuple[Hashable | None, ...] = tuple(key for _, key in parts.values())
        about: Hashable = (dict, tuple(parts), keys)
    else:
        items = [_canonical(part) for part in value]
        made, keys = [part for part, _ in items], tuple(key for _, key in items)
        about = (list, keys)
    if len(keys) > SMALL or None in keys:
        return made, None
    if len(_kept) >= KEPT:
        _kept.clear()  # what was shared stays so; from here on others are
    return _kept.setdefault(about, made), about


SLIM: dict[str, Slim] = {"pods": pod, "deployments": deployment, "services": service}
"""By plural; other kinds are kept whole."""

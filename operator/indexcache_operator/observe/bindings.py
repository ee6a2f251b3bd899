"""Tells what guards which engines: as written on their Deployment, and on each pod when it was made. Pure.

Pods are believed by their own annotation, so that a pod of an older template is asked with the token that it
holds, and a kill needs pods alone.
"""

from collections.abc import Iterable

from indexcache_operator import names
from indexcache_operator.credentials import Binding, Control, Credentials, UnknownKey
from indexcache_operator.objects import Object
from indexcache_operator.observe.pods import askable


def of_deployment(
    credentials: Credentials, *, namespace: str, name: str, uid: str, deployment: Object | None
) -> Control:
    """Return what guards the engines of a Deployment: as it was bound when it was made, or as one is bound
    that has still to be made for the rollout of this uid. Raises UnknownKey.
    """
    return credentials.of(namespace, name, _written(deployment or {}) or credentials.new(uid))


def by_address(
    credentials: Credentials, *, namespace: str, name: str, pods: Iterable[Object], otherwise: Control | None
) -> dict[str, Control]:
    """Return what guards the engine at each address. `otherwise`: for pods on which nothing is written.

    Pods without an address, and those bound to a key that isn't known, are left out.
    """
    found = {}
    for pod in pods:
        ip, binding = askable(pod), _written(pod)
        try:
            control = credentials.of(namespace, name, binding) if binding else otherwise
        except UnknownKey:
            continue
        if ip is not None and control is not None:
            found[ip] = control
    return found


def tokens(controls: dict[str, Control]) -> dict[str, str]:
    """Return the tokens alone, by address."""
    return {ip: control.token for ip, control in controls.items()}


def _written(found: Object) -> Binding | None:
    annotations = (found.get("metadata") or {}).get("annotations") or {}
    return Binding.parse(annotations.get(names.CONTROL_ANNOTATION))

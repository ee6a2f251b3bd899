"""Strategic merge of a pod template, the way kubectl patches one: maps merge, the lists below merge by key, every other list is replaced.

A null takes a field away. The `$patch` directives are not understood and are refused, since ignoring one would deploy something else.
"""

from typing import Any

KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
}
"""List fields of a pod template that merge, and the key of their items: the patchMergeKey of Kubernetes' API types."""


class MergeError(ValueError):
    """A template that can't be merged; the message names the place."""


def merge(base: Any, patch: Any, path: str = "spec.engine.template") -> Any:
    """`base` with `patch` over it. MergeError for a list of keyed items without their key, and for `$patch`."""
    if not isinstance(base, dict) or not isinstance(patch, dict):
        return patch
    out = dict(base)
    for name, value in patch.items():
        here = f"{path}.{name}"
        if name.startswith("$"):
            raise MergeError(f"{here}: found a patch directive; expected plain fields; write the fields themselves, null to take one away")
        if value is None:
            out.pop(name, None)
        elif name in KEYS and isinstance(value, list):
            out[name] = _merge_list(out.get(name) or [], value, KEYS[name], here)
        else:
            out[name] = merge(out.get(name, {}) if isinstance(value, dict) else None, value, here)
    return out


def _merge_list(base: list[Any], patch: list[Any], key: str, path: str) -> list[Any]:
    out = list(base)
    places = {item[key]: i for i, item in enumerate(out)}
    for i, item in enumerate(patch):
        if not isinstance(item, dict) or key not in item:
            raise MergeError(f"{path}[{i}]: found an item without {key}; expected {key}, by which items are merged; give it one")
        if not isinstance(item[key], str | int):
            raise MergeError(f"{path}[{i}].{key}: found {type(item[key]).__name__}; expected a text or a number; correct it")
        if item[key] in places:
            out[places[item[key]]] = merge(out[places[item[key]]], item, f"{path}[{i}]")
        else:
            places[item[key]] = len(out)
            out.append(merge({}, item, f"{path}[{i}]"))
    return out

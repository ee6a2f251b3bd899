"""Strategic merge of a pod template, the way kubectl patches one: maps merge, the lists below merge by key,
every other list is replaced.

A null takes a field away. The `$patch` directives are not understood and are refused, since ignoring one
would deploy something else.
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
"""List fields of a pod template that merge, and the key of their items: the patchMergeKey of Kubernetes' API
types.
"""


DEEPEST = 64
"""Levels of a template: no field of a pod lies as deep."""


class TemplateError(ValueError):
    """A template that no pod can be made of; the message names the place."""


def merge(base: Any, patch: Any, path: str = "spec.engine.template", depth: int = 0) -> Any:
    """Return `base` with `patch` over it.

    Raises TemplateError for a list of keyed items without their key, for `$patch`, for a map where a list
    belongs and the other way round, and for a template deeper than DEEPEST.
    """
    if depth > DEEPEST:
        raise TemplateError(
            f"{path}: found over {DEEPEST} levels; expected a Kubernetes pod template; correct it"
        )
    if isinstance(base, dict | list) and type(base) is not type(patch):
        raise TemplateError(f"{path}: found {_kind(patch)}; expected {_kind(base)}; correct it")
    if not isinstance(base, dict):
        return patch
    out = dict(base)
    for name, value in patch.items():
        here = f"{path}.{name}"
        if str(name).startswith("$"):
            raise TemplateError(
                f"{here}: found a patch directive; expected plain fields; write the fields themselves, null "
                "to take one away"
            )
        if value is None:
            out.pop(name, None)
        elif name in KEYS and isinstance(out.get(name, value), list) and isinstance(value, list):
            out[name] = _merge_list(out.get(name) or [], value, KEYS[name], here, depth + 1)
        else:
            out[name] = merge(out.get(name, {} if isinstance(value, dict) else None), value, here, depth + 1)
    return out


def _merge_list(base: list[Any], patch: list[Any], key: str, path: str, depth: int) -> list[Any]:
    out = list(base)
    places = {item[key]: i for i, item in enumerate(out)}
    for i, item in enumerate(patch):
        if not isinstance(item, dict) or key not in item:
            raise TemplateError(
                f"{path}[{i}]: found an item without {key}; expected {key}, by which items are merged; give "
                "it one"
            )
        if not isinstance(item[key], str | int):
            raise TemplateError(
                f"{path}[{i}].{key}: found {_kind(item[key])}; expected a text or a number; correct it"
            )
        if item[key] in places:
            out[places[item[key]]] = merge(out[places[item[key]]], item, f"{path}[{i}]", depth)
        else:
            places[item[key]] = len(out)
            out.append(merge({}, item, f"{path}[{i}]", depth))
    return out


def _kind(value: Any) -> str:
    """Return what a value is, in words."""
    return "a map" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)[:80]

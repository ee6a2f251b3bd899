"""Turns pydantic's JSON schema into a structural schema, the dialect that a CustomResourceDefinition takes.

Kubernetes wants no `$ref`, no `anyOf` with null, boolean `exclusiveMinimum`, and a bound on every list and
string, since it prices each CEL rule by the longest value that the schema lets through. Traps: a `$ref`
beside siblings (a field's own description, its default) keeps them; the API server fills defaults from the
top down, so an object's default is `{}` and its fields bring theirs.
"""

from typing import Any

from pydantic import TypeAdapter

from indexcache_operator.api.base import MAX_ITEMS, MAX_LENGTH
from indexcache_operator.api.times import SPAN

_KEPT = (
    "type",
    "format",
    "description",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    SPAN,
)

Schema = dict[str, Any]


def structural(model: type[Any]) -> Schema:
    """Return the structural schema of a type, by its aliases. Raises TypeError for what Kubernetes'
    dialect can't express.
    """
    whole = TypeAdapter(model).json_schema(by_alias=True, mode="validation")
    return _convert(whole, whole.get("$defs", {}), "")


def _convert(node: Schema, defs: Schema, path: str) -> Schema:
    node = _resolved(node, defs, path)
    out: Schema = {key: node[key] for key in _KEPT if key in node}
    if "description" in out:
        out["description"] = " ".join(out["description"].split())
    for bound in ("Minimum", "Maximum"):
        if f"exclusive{bound}" in node:
            out[bound.lower()] = node[f"exclusive{bound}"]
            out[f"exclusive{bound}"] = True
    if "const" in node:
        out["enum"] = [node["const"]]
    _default(node, out)
    kind = out.get("type")
    if kind == "object":
        _object(node, defs, path, out)
    elif kind == "array":
        out["items"] = _convert(node["items"], defs, f"{path}[]")
        out.setdefault("maxItems", MAX_ITEMS)
    elif kind == "string":
        if "enum" not in out:
            out.setdefault("maxLength", MAX_LENGTH)
    elif kind == "integer":
        out["format"] = "int64"
    elif kind not in ("number", "boolean"):
        raise TypeError(
            f"{path or 'the model'}: type {kind!r} has no place in a structural schema; give the field one "
            "plain type"
        )
    return out


def _resolved(node: Schema, defs: Schema, path: str) -> Schema:
    """Return a node with references followed and `| None` taken away: in Kubernetes an absent field is the
    null."""
    while "$ref" in node or "anyOf" in node:
        siblings = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
        if "$ref" in node:
            inner = defs[node["$ref"].rsplit("/", 1)[1]]
        else:
            variants = [variant for variant in node["anyOf"] if variant.get("type") != "null"]
            if len(variants) != 1:
                raise TypeError(f"{path}: {len(variants)} types in one field; a structural schema takes one")
            inner = variants[0]
        node = {**inner, **siblings}
    return node


def _default(node: Schema, out: Schema) -> None:
    default = node.get("default")
    if default is None or default in ([], ""):
        if default == []:
            out["default"] = []
        return
    out["default"] = {} if isinstance(default, dict) else default


def _object(node: Schema, defs: Schema, path: str, out: Schema) -> None:
    if "properties" in node:
        out["properties"] = {
            name: _convert(child, defs, f"{path}.{name}".lstrip("."))
            for name, child in node["properties"].items()
        }
        if node.get("required"):
            out["required"] = list(node["required"])
    elif isinstance(node.get("additionalProperties"), dict):
        out["additionalProperties"] = _convert(node["additionalProperties"], defs, f"{path}{{}}")
    else:
        out["x-kubernetes-preserve-unknown-fields"] = True

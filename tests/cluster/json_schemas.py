"""JSON schemas for kubeconform out of an API server's own OpenAPI: nothing has to be had from elsewhere, and
kinds that come by a CRD are judged as the built-in ones are.
"""

import json
import re
from pathlib import Path
from typing import Any

KINDS = "x-kubernetes-group-version-kind"
INT_OR_STRING = {"oneOf": [{"type": "string"}, {"type": "integer"}]}
LOCATION = "{{.ResourceKind}}{{.KindSuffix}}.json"
"""As kubeconform's -schema-location has it, after the folder."""


def write(openapi: dict[str, Any], folder: Path) -> None:
    """Write a schema for each kind that an API server serves, by its answer to /openapi/v2."""
    definitions = {name: strict(found) for name, found in openapi["definitions"].items()}
    for name, found in openapi["definitions"].items():
        for kind in found.get(KINDS, []):
            file = "-".join(
                filter(None, [kind["kind"], kind["group"].split(".")[0], kind["version"]])
            ).lower()
            schema = {"$ref": f"#/definitions/{name}", "definitions": reachable(definitions, name)}
            (folder / f"{file}.json").write_text(json.dumps(schema))


def reachable(definitions: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a definition, and those that it leads to: all of them together are megabytes."""
    found: dict[str, Any] = {}
    ahead = [name]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found[name] = definitions[name]
            ahead += re.findall(r'"#/definitions/([^"]+)"', json.dumps(definitions[name]))
    return found


def strict(schema: Any) -> Any:
    """Return a schema that refuses fields which it doesn't know, but where any are allowed."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return INT_OR_STRING
    out = {key: strict(value) for key, value in schema.items() if not key.startswith("x-")}
    if "properties" not in schema:
        return out
    out["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
    is_open = schema.get("x-kubernetes-preserve-unknown-fields", False)
    return out if is_open else {"additionalProperties": False, **out}

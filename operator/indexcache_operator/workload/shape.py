"""The shape of a pod template, as far as the operator itself reads and writes in it. The rest the API server
judges.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError

from indexcache_operator.objects import Object
from indexcache_operator.workload.merge import TemplateError

EXPECTED = {
    "dict_type": "a map",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a map",
    "string_type": "a text",
    "too_short": "at least one",
}
"""What pydantic's errors ask for, by their types."""


class _Open(BaseModel):
    """A map of which only some fields are looked at."""

    model_config = ConfigDict(extra="allow")


class _Variable(_Open):
    name: StrictStr
    value: StrictStr = ""


class _Mount(_Open):
    mountPath: StrictStr


class _Port(_Open):
    containerPort: int


class _Container(_Open):
    name: StrictStr
    env: list[_Variable] = []
    ports: list[_Port] = []
    volumeMounts: list[_Mount] = []


class _Named(_Open):
    name: StrictStr


class _PodSpec(_Open):
    containers: list[_Container] = Field(min_length=1)
    initContainers: list[_Container] = []
    volumes: list[_Named] = []


class _Metadata(_Open):
    labels: dict[StrictStr, StrictStr]
    annotations: dict[StrictStr, StrictStr]


class _Template(_Open):
    metadata: _Metadata
    spec: _PodSpec


def check(template: Object) -> None:
    """Check a merged template.

    Raises TemplateError, which names the field, what was found and what was expected.
    """
    try:
        _Template.model_validate(template)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        if first["type"] == "missing":
            raise TemplateError(
                f"spec.engine.template{place}: found nothing; expected it to be there; leave it there"
            ) from None
        expected = EXPECTED.get(first["type"], first["msg"])
        raise TemplateError(
            f"spec.engine.template{place}: found {_shown(first['input'])}; expected {expected}; correct it"
        ) from None


def _shown(value: Any) -> str:
    found = repr(value)
    return found if len(found) <= 80 else f"{found[:77]}..."

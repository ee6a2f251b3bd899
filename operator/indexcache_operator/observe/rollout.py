"""The rollout itself, as the API server gives it: what of it can be read, and why the rest can't."""

import copy
from typing import Any

from pydantic import ValidationError

from indexcache_operator import names
from indexcache_operator.api import stored
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import AT_REST, Status
from indexcache_operator.model import Rollout
from indexcache_operator.objects import Object

SHOWN = 80
"""Characters of a wrong value that an error shows."""


class UnreadableStatus(ValueError):
    """A status that this operator can't read, as a newer one wrote it.

    Nothing is done about such a rollout but kills: its engines' permits lapse. `raw` is the object as the API
    server gave it.
    """

    def __init__(self, message: str, raw: Object) -> None:
        super().__init__(message)
        self.raw = raw


def read(raw: Object) -> Rollout:
    """Read the rollout in an object of the API. Raises UnreadableStatus."""
    metadata = raw["metadata"]
    spec, problem, unknown = _spec(raw.get("spec") or {})
    return Rollout(
        raw=raw,
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        annotations=dict(metadata.get("annotations") or {}),
        deleting=bool(metadata.get("deletionTimestamp")),
        held=names.FINALIZER in (metadata.get("finalizers") or []),
        spec=spec,
        spec_problem=problem,
        unknown_fields=unknown,
        status=_status(raw),
    )


def at_rest(raw: Object) -> bool:
    """Return whether a rollout waits for somebody, by its status: nobody is exposed or brought back now."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    return (
        status.get("phase") in AT_REST
        and status.get("observedGeneration") == metadata.get("generation")
        and not metadata.get("deletionTimestamp")
    )


def _spec(raw: Object) -> tuple[Spec | None, str | None, tuple[str, ...]]:
    """Read a spec. Return it, or why it can't be read; and the fields that this version doesn't know.

    The API server stores no field that the CRD doesn't have, so these are a newer version's: the rest is what
    is asked.
    """
    try:
        return Spec.model_validate(raw), None, ()
    except ValidationError as error:
        places = [
            item["loc"] for item in error.errors(include_url=False) if item["type"] == "extra_forbidden"
        ]
        if not places:
            return None, "; ".join(words(error, "spec")), ()
    known = copy.deepcopy(raw)
    for place in places:
        _remove(known, place)
    spec, problem, _ = _spec(known)
    return spec, problem, tuple(sorted(_path("spec", place) for place in places))


def _remove(value: Any, place: tuple[int | str, ...]) -> None:
    for part in place[:-1]:
        value = value[part]
    del value[place[-1]]


def _path(root: str, place: tuple[int | str, ...]) -> str:
    return root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)


def _status(raw: Object) -> Status:
    try:
        return stored.read(raw.get("status") or {})
    except ValidationError as error:
        found = "; ".join(words(error, "status"))
        raise UnreadableStatus(
            f"{found}; expected a status of this operator's version; restore it or run the version that "
            "wrote it",
            raw,
        ) from None


def words(error: ValidationError, root: str) -> list[str]:
    """Return a validation error in words: of each field its path, what was found, what was expected, and what
    to do.
    """
    out = []
    for item in error.errors(include_url=False, include_context=False):
        out.append(f"{_path(root, item['loc'])}: {_said(item['type'], item['msg'], item['input'])}")
    return out


def _said(kind: str, message: str, found: object) -> str:
    if kind == "value_error":  # a check of our own, which says it all
        return message.removeprefix("Value error, ")
    if kind == "missing":
        return "found nothing; expected this field, which is required; add it"
    if kind == "extra_forbidden":
        return "found a field of this name; expected none; remove it, or correct its spelling"
    shown = repr(found)
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
    said = message.removeprefix("Input should be ")
    expected = f"expected {said}" if said != message else f"{message[:1].lower()}{message[1:]}"
    return f"found {shown}; {expected}; correct it"

"""Turns a status into an object of the API, and an object of the API into a status. Nothing else does
either.
"""

from typing import Any

from pydantic import TypeAdapter

from indexcache_operator.api import clip
from indexcache_operator.api.status import Status
from indexcache_operator.api.structural import structural

Object = dict[str, Any]  # Any: JSON

_STATUS = TypeAdapter(Status)
_SCHEMA = structural(Status)
"""As the CRD has it."""


def read(found: Object) -> Status:
    """Read a status as the API server gives it.

    A field that is missing has its default; one that is unknown, as an older or newer version wrote it, is
    left out.

    Raises:
        pydantic.ValidationError: A field holds what it can't hold.
    """
    return _STATUS.validate_python(found)


def dump(status: Status) -> Object:
    """Write a status as it stands in the API: what is absent is not written, what the CRD would refuse is cut
    (clip.py).
    """
    out: Object = clip.fit(
        _STATUS.dump_python(status, mode="json", by_alias=True, exclude_none=True), _SCHEMA
    )
    return out

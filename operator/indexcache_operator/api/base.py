"""Defines how spec and status are written down: camelCase outside, snake_case inside; unknown fields of a
spec are refused. And the API's names.
"""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

GROUP = "indexcache.dev"
VERSION = "v1alpha1"
KIND = "IndexCacheRollout"
PLURAL = "indexcacherollouts"

MAX_LENGTH = 4096
"""Characters of a text that says no bound of its own. Kubernetes wants one everywhere: it prices a CEL rule
by the longest value.
"""
MAX_ITEMS = 1024
"""Items of a list, likewise."""


class ApiModel(BaseModel):
    """The base of the spec and its parts."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )


class Stored:
    """Says how a part of the status is written down: fields in camelCase, described by their docstrings.

    A field that this version doesn't know is left out when a status is read; one that is missing has its
    default.
    """

    __slots__ = ()
    __pydantic_config__ = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True
    )

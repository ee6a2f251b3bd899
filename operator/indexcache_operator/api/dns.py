"""Says what a name is in Kubernetes (RFC 1123): once, for the spec, its CRD, and every path that is made of a
name.

A name that a user gives becomes a part of an API path, and the HTTP client resolves `..` in a path: a name
that isn't one could lead out of the rollout's namespace. So names are checked where they come in (spec.py,
the CRD), where a path is made of them (names.py), and once more where it is requested (kube.py).
"""

import re
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, WithJsonSchema


class InvalidName(ValueError):
    """A text that is no name of an object; says what was found, what was expected and what to do."""


class Kind(NamedTuple):
    """A kind of name."""

    called: str
    pattern: str
    """A regular expression that Python, Rust and Go read alike; the whole text must match."""
    longest: int
    """In characters."""


_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
LABEL = Kind("a DNS label", f"^{_LABEL}$", 63)
"""Namespaces, Services."""
SUBDOMAIN = Kind("a DNS subdomain", f"^{_LABEL}(\\.{_LABEL})*$", 253)
"""Most objects, rules of an HTTPRoute among them."""

_SHOWN = 64
"""Characters of a wrong name that an error shows."""


def check(text: str, kind: Kind) -> str:
    """Return the text itself, if it is a name of this kind.

    Raises InvalidName.
    """
    # Not `match` with the pattern as it stands: to Python, `$` also matches before a newline at the end.
    if len(text) <= kind.longest and re.fullmatch(kind.pattern.strip("^$"), text):
        return text
    shown = repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}... of {len(text)} characters"
    dots = "" if kind is LABEL else ", dots"
    raise InvalidName(
        f"found {shown}; expected {kind.called}: 1 to {kind.longest} small letters, digits{dots} and "
        "dashes, a letter or digit at both ends; write the object's name alone, without namespace or path"
    )


@dataclass(frozen=True)
class _Check:
    kind: Kind

    def __call__(self, text: str) -> str:
        return check(text, self.kind)


def _schema(kind: Kind) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", "minLength": 1, "maxLength": kind.longest, "pattern": kind.pattern}
    )


Subdomain = Annotated[str, AfterValidator(_Check(SUBDOMAIN)), _schema(SUBDOMAIN)]

"""Defines how a request asks never to be served under reuse. Pure.

    body     "vllm_xargs": {"indexcache": "off"}      SamplingParams.extra_args, in whatever API
    header   x-indexcache: off                        where the server names requests by X-Request-Id

The header becomes a mark in the request's id, which is all that an engine core sees of headers. So an
X-Request-Id that holds the mark opts out too: nobody loses by it. A value other than "off" is refused, not
ignored: whoever writes one wants something.
"""

from collections.abc import Mapping
from typing import Any

KEY, OFF = "indexcache", "off"
HEADER = "x-indexcache"
_MARK = "-icoff"


def problem(extra_args: Mapping[str, Any] | None) -> str | None:
    """Return what is wrong with a request's extra arguments: field, value, expectation and what to do. None:
    nothing."""
    if extra_args is None or KEY not in extra_args or extra_args[KEY] == OFF:
        return None
    found = repr(extra_args[KEY])[:80]
    return (
        f'vllm_xargs.{KEY}: {found}; expected "{OFF}", which serves the request without IndexCache, or '
        "leave it out"
    )


def header_problem(value: str) -> str | None:
    """Return the same for the header's value."""
    return (
        None
        if value.strip().lower() == OFF
        else f'{HEADER}: {value[:80]!r}; expected "{OFF}", or leave it out'
    )


def marked(request_id: str) -> str:
    """Return a request's id with the mark."""
    return request_id + _MARK


def asked(request_id: str, extra_args: Mapping[str, Any] | None) -> bool:
    """Return whether a request opted out. A value that should have been refused counts as `off`: the baseline
    harms nobody."""
    return _MARK in request_id or (extra_args is not None and KEY in extra_args)

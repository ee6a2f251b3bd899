"""Tells whether a request opted out of reuse, read where it is scheduled: in the engine core."""

from typing import Any

from indexcache_runtime import optout

ATTRIBUTE = "_indexcache_opted_out"


def opted_out(request: Any) -> bool:
    """Return whether a vLLM Request opted out. Settled when first asked: a streaming session stays what its
    first part was."""
    found: bool | None = getattr(request, ATTRIBUTE, None)
    if found is None:
        params = request.sampling_params
        found = optout.asked(request.request_id, params.extra_args if params is not None else None)
        setattr(request, ATTRIBUTE, found)
    return found

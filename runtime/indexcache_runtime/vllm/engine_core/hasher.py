"""vLLM's hasher, which names a request's blocks, with a class for requests that have one (blocks.py says what
that is for).

A request keeps the hasher that it was made with, and vLLM's input thread makes requests as soon as the engine
core is constructed, before it can be taken charge of. So the hasher is wrapped where vLLM makes it
(`wrap_where_made`, when the plugin is registered), and does as vLLM's own until a request has a class. One
that got past that is wrapped when its request is first looked up or renamed.
"""

import functools
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ATTRIBUTE = "_indexcache_taint"
MAKER = "get_request_block_hasher"
"""The function that vLLM's engine core makes its hasher by, as vllm.v1.engine.core has it."""

Names = Callable[[Any], list[bytes]]
"""The names of a request's new full blocks."""


@dataclass
class Taint:
    """Holds what a request knows of its own blocks, once some of them have a class."""

    name: str
    """The class of what is computed now."""
    last: str | None
    """The last behaviour in that class; None is the baseline."""
    base: list[bytes]
    """The baseline's names of all its full blocks, as long as `request.block_hashes`."""
    first: int
    """Index of the first block that has a class."""


def salted(name: str, block: bytes) -> bytes:
    """Return the name of a block under a class. 32 bytes, as vLLM's own."""
    return hashlib.sha256(b"indexcache\0" + name.encode() + b"\0" + block).digest()


class Hasher:
    """Stands in for one of vLLM's hashers, in the engine core's thread and, on new requests, in its input
    thread."""

    def __init__(self, original: Names, failed: Callable[[str, Exception], None] | None = None) -> None:
        """Stand in for `original`. `failed`: is told what failed here, and what it was doing; without it, it
        is raised."""
        self.original, self.failed = original, failed

    def __call__(self, request: Any) -> list[bytes]:
        """Return the names of a request's new full blocks, in its class if it has one."""
        taint: Taint | None = getattr(request, ATTRIBUTE, None)
        if taint is None:
            return self.original(request)
        named = request.block_hashes
        del taint.base[len(named) :]  # vLLM cuts the list when a streaming session goes on
        request.block_hashes = taint.base
        try:
            new = self.original(request)
        finally:
            request.block_hashes = named
        taint.base.extend(new)
        try:
            return [salted(taint.name, block) for block in new]
        except Exception as e:  # told, and named so that nobody asks for it
            if self.failed is None:
                raise
            self.failed("naming blocks", e)
            return [os.urandom(32) for _ in new]


def vllms_own(hasher: Names | None) -> Names | None:
    """Return the hasher as vLLM made it."""
    return hasher.original if isinstance(hasher, Hasher) else hasher


def wrap_where_made(core: Any) -> None:
    """Have vLLM's engine core (its module) make hashers of ours. A vLLM without that function is refused
    later, by its name.
    """
    make: Callable[..., Names] | None = getattr(core, MAKER, None)
    if make is None:
        return

    @functools.wraps(make)
    def made(*args: Any, **kwargs: Any) -> Hasher:
        return Hasher(make(*args, **kwargs))

    setattr(core, MAKER, made)

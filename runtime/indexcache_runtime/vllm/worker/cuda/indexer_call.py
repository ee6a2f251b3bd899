"""Stands between vLLM's attention layers and the function that scores and chooses for all of them, while
somebody takes its time or does its work.

Both go by one hook, so that one of them may begin or end whatever the other does. With nobody there the
function is vLLM's own.
"""

from collections.abc import Callable
from typing import Any, Protocol

from indexcache_runtime.vllm.worker.cuda.seam import ATTENTION
from indexcache_runtime.vllm.worker.hooks import Hook


class Clock(Protocol):
    """Takes the time."""

    def mark(self, part: str) -> None:
        """Note that a part begins or ends."""
        ...


class Instead(Protocol):
    """Does the work."""

    def __call__(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Choose, with or without vLLM's own function."""
        ...


_clocks: list[Clock] = []
_instead: list[Instead] = []
"""One at most of each."""


def _wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
    def sparse_attn_indexer(*args: Any, **kwargs: Any) -> Any:
        if _clocks:
            _clocks[0].mark("indexer")
        try:
            if _instead:
                return _instead[0](original, *args, **kwargs)
            return original(*args, **kwargs)
        finally:
            if _clocks:
                _clocks[0].mark("indexer")

    return sparse_attn_indexer


INDEXER = Hook(ATTENTION, "sparse_attn_indexer", _wrapped)


def time_by(clock: Clock, wanted: bool) -> None:
    """Have calls timed by this clock, or no longer. Between steps only."""
    _clocks[:] = [clock] if wanted else []
    INDEXER.use(clock, wanted)


def is_timed_by(clock: Clock) -> bool:
    """Return whether calls are timed by this clock."""
    return any(one is clock for one in _clocks)


def choose_by(instead: Instead, wanted: bool) -> None:
    """Have this do the work, or vLLM's function again. Between steps only."""
    _instead[:] = [instead] if wanted else []
    INDEXER.use(instead, wanted)

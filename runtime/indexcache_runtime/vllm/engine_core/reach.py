"""Tells which of an engine core's requests reuse doesn't reach: contexts that are longer than its flags say.

A user's request is out if its prompt is longer than the reach when it is first scheduled, and else from the
step on that computes a row whose context is longer, or from the one after a shorter reach. It stays out until
it ends; if reuse touched it, it goes on with what it has. Probes are computed as they say, at any length, and
a request that opted out is the baseline's anyway: neither is ever out of reach.

Trap: a request that waits is decided on anew each time it is looked up in the prefix cache, and settled when
it is scheduled, in the same step; so its names and what is computed for it never rest on two reaches.
"""

from collections.abc import Callable, Iterable
from typing import Any

ATTRIBUTE = "_indexcache_beyond"


class Reach:
    """Knows how far reuse reaches in one engine core, and whom it doesn't."""

    def __init__(self, exempt: Callable[[Any], bool]) -> None:
        """Begin with a reach of every length. `exempt`: whether a request is a probe or opted out; its answer
        never changes."""
        self._exempt = exempt
        self.tokens: int | None = None
        """The longest context that reuse reaches; None: every one."""

    def follow(self, tokens: int | None, requests: Iterable[Any]) -> list[Any]:
        """Set how far reuse reaches from the next step on. Returns which of these requests, all of the
        scheduler's, are out by that though something of them is computed."""
        if tokens == self.tokens:
            return []
        self.tokens = tokens
        return [request for request in requests if request.num_computed_tokens and self.leaves(request)]

    def beyond(self, request: Any) -> bool:
        """Return whether reuse doesn't reach a request: it is out, or would be if it were scheduled now."""
        return getattr(request, ATTRIBUTE, False) or self._exceeds(request)

    def leaves(self, request: Any) -> bool:
        """Return whether a request is out from now on, and wasn't before. Its tokens in the step that is
        being scheduled are computed."""
        if not self._exceeds(request) or getattr(request, ATTRIBUTE, False):
            return False
        setattr(request, ATTRIBUTE, True)
        return True

    def _exceeds(self, request: Any) -> bool:
        return (
            self.tokens is not None
            and (request.num_computed_tokens > self.tokens or request.num_prompt_tokens > self.tokens)
            and not self._exempt(request)
        )

"""Tells of a request whether it is the operator's probe, and on which side of a pair, and counts what became
of each side.

A side means something only if it is computed as it says. So

* one on the full side is a request that opted out: each step that holds it runs all Full, and its blocks are
  the baseline's;
* one on the side of reuse is computed in mode `on` as users are, and in mode `shadow` under reuse in steps
  that hold nothing but such probes (`apart`). A step that a user is in runs all Full there, and the probe's
  blocks have a class of their own from its first one on, under which nobody else looks (blocks.py).

How many rows of each side ran under reuse is told in the state, and whoever asked decides what counts.
"""

from typing import Any

from indexcache_core.contract import Mode
from indexcache_core.pattern import SHARED
from indexcache_core.probe_ids import PROBE_PREFIX, Side, probe_name, side_of

from indexcache_runtime.access import Credentials
from indexcache_runtime.control.behaviour import Behaviour, taint_class
from indexcache_runtime.control.probe_log import ProbeLog
from indexcache_runtime.vllm.engine_core.opted_out import opted_out

ATTRIBUTE = "_indexcache_probe"


class ProbeRequests:
    """Knows one engine core's probes."""

    def __init__(self, credentials: Credentials, k: int) -> None:
        """Tell probes by these credentials. k: tokens chosen a row."""
        self._credentials, self._k = credentials, k

    def name(self, request: Any) -> str | None:
        """Return a probe's name; None for a user's request. Settled when first asked, as tokens change."""
        found: tuple[str | None] | None = getattr(request, ATTRIBUTE, None)
        if found is None:
            found = (self._name(request.request_id),)
            setattr(request, ATTRIBUTE, found)
        return found[0]

    def _name(self, request_id: str) -> str | None:
        if PROBE_PREFIX not in request_id:
            return None
        names = (probe_name(request_id, token) for token in self._credentials.tokens)
        return next((name for name in names if name is not None), None)

    def side(self, request: Any) -> Side | None:
        """Return which side of a pair a request is on."""
        name = self.name(request)
        return None if name is None else side_of(name)

    def out(self, request: Any) -> bool:
        """Return whether a request is never to be served under reuse: its user opted out, or it is the full
        side of a pair.
        """
        return opted_out(request) or self.side(request) is Side.FULL

    def exempt(self, request: Any) -> bool:
        """Return whether how far reuse reaches is nothing to a request: it is a probe, or its user opted
        out."""
        return self.name(request) is not None or opted_out(request)

    def reusing(self, request: Any) -> bool:
        """Return whether a request is the side of a pair that is to run under reuse."""
        return self.side(request) is Side.REUSE and not opted_out(request)

    def apart(self, requests: dict[str, Any], scheduled: Any, behaviour: Behaviour) -> bool:
        """Return whether a step, of these of vLLM's requests, runs under reuse though the mode is shadow."""
        return (
            behaviour.mode is Mode.SHADOW
            and bool(scheduled)
            and all(self.reusing(requests[name]) for name in scheduled)
        )

    def count(
        self, log: ProbeLog, requests: dict[str, Any], tokens: dict[str, int], floor: int, *, reused: bool
    ) -> None:
        """Count what a step computes of each side.

        Args:
            tokens: How many of each request's tokens it computes.
            floor: The behaviour's min_context_tokens.
            reused: Whether the step runs under reuse.
        """
        for name, n in tokens.items():
            request = requests[name]
            probe = self.name(request)
            if probe is None or side_of(probe) is None:
                continue
            end = request.num_computed_tokens  # advanced by this step already
            rows = len(range(max(end - n, self._k), end)) if end >= floor else 0
            log.add(probe, rows, reused=reused)


def apart_class(behaviour: Behaviour) -> str | None:
    """Return the class of what probes apart compute; None where none runs apart."""
    if behaviour.mode is not Mode.SHADOW or SHARED not in behaviour.pattern:
        return None
    return "probe-" + taint_class(behaviour.pattern, behaviour.min_context_tokens, behaviour.indexer)

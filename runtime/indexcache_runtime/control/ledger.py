"""Counts who was served how: cumulative counts of requests, steps and cached tokens. Pure, not thread-safe.

These counts, not a gateway's status, tell how much traffic an engine had and under which behaviour. Probes
are kept apart from users.
"""

from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass, field

from indexcache_core.contexts import CONTEXT_ENDS_IN_K, context_bucket
from indexcache_core.contract import HALF_LIFE, Cache, Requests, Steps

from indexcache_runtime.control.probe_log import ProbeLog

_KEPT = 0.5 ** (1 / HALF_LIFE)
"""Weight that a request keeps when the next one comes."""


@dataclass
class _User:
    """Holds what is known of a user's request in flight."""

    prompt_tokens: int
    cached_tokens: int
    """Found in the prefix cache when it was first scheduled."""
    is_touched: bool = False
    """By reuse."""


@dataclass
class Ledger:
    """Counts one engine's requests, steps and cached tokens."""

    k: int
    """Tokens chosen a row: the unit of the buckets of context length. 0 where no model is known: no contexts
    are counted."""
    admitted_baseline: int = 0
    admitted_reuse: int = 0
    touched: int = 0
    opted_out: int = 0
    beyond_reach: int = 0
    left_reach: int = 0
    finished: int = 0
    probes: int = 0
    contexts: list[int] = field(default_factory=lambda: [0] * (len(CONTEXT_ENDS_IN_K) + 1))
    recent: list[float] = field(default_factory=lambda: [0.0] * (len(CONTEXT_ENDS_IN_K) + 1))
    recent_decoding: list[float] = field(default_factory=lambda: [0.0] * (len(CONTEXT_ENDS_IN_K) + 1))
    recent_work: list[float] = field(default_factory=lambda: [0.0] * (len(CONTEXT_ENDS_IN_K) + 1))
    full: int = 0
    reuse: int = 0
    reuse_all_full: int = 0
    reuse_apart: int = 0
    baseline_hits: int = 0
    reuse_hits: int = 0
    resalted: int = 0
    recomputed: int = 0
    _series: int = 0
    probe_log: ProbeLog = field(default_factory=ProbeLog)
    """How pairs of probes were computed."""
    _users: dict[str, _User] = field(default_factory=dict)
    """Users' requests in flight."""
    _probing: set[str] = field(default_factory=set)
    _out: set[str] = field(default_factory=set)
    """Requests in flight that opted out of reuse."""
    _beyond: set[str] = field(default_factory=set)
    """Requests in flight that reuse doesn't reach, or no longer."""

    def begin(self, series: int) -> None:
        """Count recent contexts for this series; another than before, so of another try, starts from zero."""
        if series != self._series:
            self._series = series
            self.recent = [0.0] * len(self.recent)
            self.recent_decoding = [0.0] * len(self.recent_decoding)
            self.recent_work = [0.0] * len(self.recent_work)

    def admit(
        self,
        request: str,
        *,
        prompt_tokens: int,
        reuse: bool,
        probe: bool,
        opted_out: bool = False,
        beyond_reach: bool = False,
        decodes: bool = True,
        cached_tokens: int = 0,
    ) -> None:
        """Count a request that was scheduled; only its first time counts. `reuse`: in mode on; one that opted
        out, or that reuse doesn't reach, is the baseline's even there. `decodes`: it asked for more than one
        token. `cached_tokens`: those found in the prefix cache."""
        if request in self._users or request in self._probing:
            return
        if opted_out:
            self._out.add(request)
        if beyond_reach:
            self._beyond.add(request)
        if probe:
            self._probing.add(request)
            self.probes += 1
            return
        reuse = reuse and not (opted_out or beyond_reach)
        self._users[request] = _User(prompt_tokens, cached_tokens)
        self.opted_out += opted_out
        self.beyond_reach += beyond_reach
        self.admitted_reuse += reuse
        self.admitted_baseline += not reuse
        if self.k:
            self._count(context_bucket(prompt_tokens, self.k), decodes)

    def _count(self, context: int, decodes: bool) -> None:
        """Count a user's request by the bucket of its prompt's length, and let those before weigh less."""
        self.contexts[context] += 1
        self.recent = [weight * _KEPT for weight in self.recent]
        self.recent_decoding = [weight * _KEPT for weight in self.recent_decoding]
        self.recent[context] += 1
        self.recent_decoding[context] += decodes

    def touch(self, request: str) -> bool:
        """Note that a step of mode `on` holds this request. Returns whether that touches it: if it opted out,
        or reuse doesn't reach it, the step is all Full and its blocks are the baseline's."""
        if request in self._out or request in self._beyond:
            return False
        user = self._users.get(request)
        if user is not None and not user.is_touched:
            user.is_touched = True
            self.touched += 1
        return True

    def leave(self, request: str) -> None:
        """Note that reuse no longer reaches this request in flight, until it ends."""
        if request in self._beyond or (user := self._users.get(request)) is None:
            return
        self._beyond.add(request)
        self.left_reach += user.is_touched

    def finish(self, request: str, *, computed_tokens: int = 0) -> None:
        """Count a request that ended, however; unknown ones (never scheduled) don't count.

        Args:
            request: Its name.
            computed_tokens: For how many of its tokens there was KV when it ended, found or computed.
        """
        self._out.discard(request)
        self._beyond.discard(request)
        if (user := self._users.pop(request, None)) is None:
            self._probing.discard(request)
            return
        self.finished += 1
        if self.k:
            self.recent_work = [weight * _KEPT for weight in self.recent_work]
            work = _pairs(computed_tokens) - _pairs(user.cached_tokens)
            self.recent_work[context_bucket(user.prompt_tokens, self.k)] += max(work, 0)

    def is_probe(self, request: str) -> bool:
        """Return whether a request in flight is a probe."""
        return request in self._probing

    def any_probe(self, requests: Iterable[str]) -> bool:
        """Return whether one of these is a probe."""
        return bool(self._probing) and not self._probing.isdisjoint(requests)

    def all_probes(self, requests: Collection[str]) -> bool:
        """Return whether these are probes, and there are any."""
        return bool(self._probing) and bool(requests) and self._probing.issuperset(requests)

    def any_out(self, requests: Iterable[str]) -> bool:
        """Return whether reuse may serve no step that holds these: one opted out, or is out of reach."""
        return bool(self._out or self._beyond) and not (
            self._out.isdisjoint(requests) and self._beyond.isdisjoint(requests)
        )

    def beyond(self, requests: Iterable[str]) -> Set[str]:
        """Return those of these requests that reuse doesn't reach."""
        return self._beyond.intersection(requests) if self._beyond else set()

    def requests(self) -> Requests:
        """Return the counts of requests, as the state has them."""
        touched = sum(user.is_touched for user in self._users.values())
        return Requests(
            admitted_baseline=self.admitted_baseline,
            admitted_reuse=self.admitted_reuse,
            touched_by_reuse=self.touched,
            opted_out=self.opted_out,
            beyond_reach=self.beyond_reach,
            left_reach=self.left_reach,
            finished=self.finished,
            probes=self.probes,
            running_baseline=len(self._users) - touched,
            running_reuse=touched,
            contexts=tuple(self.contexts),
            recent=tuple(self.recent),
            recent_decoding=tuple(self.recent_decoding),
            recent_work=tuple(self.recent_work),
        )

    def steps(self) -> Steps:
        """Return the counts of steps, as the state has them."""
        return Steps(
            full=self.full,
            reuse=self.reuse,
            reuse_all_full=self.reuse_all_full,
            reuse_apart=self.reuse_apart,
        )

    def cache(self) -> Cache:
        """Return the counts of cached tokens, as the state has them."""
        return Cache(
            baseline_hits=self.baseline_hits,
            reuse_hits=self.reuse_hits,
            resalted_requests=self.resalted,
            recomputed_requests=self.recomputed,
        )


def _pairs(tokens: int) -> int:
    """Return the number of pairs of a query row and a token of its context, over so many first tokens."""
    return tokens * (tokens + 1) // 2

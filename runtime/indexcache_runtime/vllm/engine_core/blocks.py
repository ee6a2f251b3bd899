"""Taint: KV computed under reuse is cached under other names than the baseline's, so no baseline request ever
reads it.

vLLM names a block of the prefix cache by a hash chained over its tokens. Here a block that holds a token
computed under reuse, and every block after it, is named instead by hash(class, the name it would have at the
baseline). The class says under which behaviours it was computed, in order: "3f2a..." one reuse, "3f2a...>off"
a reuse that was killed half-way. So

* at the baseline only names without a class are looked up: whatever is found was computed at the baseline,
  all of it;
* under reuse a request may read baseline blocks, and blocks of its own class: the longer of
  baseline-then-class and class-alone wins, and what it computes itself has the class from there on;
* a request that opted out of reuse is at the baseline always: each step that holds it runs all Full;
* so is one that reuse doesn't reach (reach.py), and one that reuse no longer reaches goes on as after a kill;
* a probe that runs under reuse in mode shadow, in steps of its own, has the class of such probes from its
  first block on, also for what it computes beside users, all Full (probe_requests.py);
* a block that lies across a flip has both behaviours in its class, and nobody else asks for that name.

What counts is `request.block_hashes` when a block is full, for then vLLM enters it into the cache under that
name. Names of tokens that are not computed yet are therefore changed at every flip (`enter`), and decided
anew at every admission, the one after a preemption included (`lookup`). A name may claim more taint than is
there, never less.

Where this fails itself, a request keeps the names that vLLM gives it, if none of its blocks has a class, and
else names that nobody asks for.

Traps: `num_computed_tokens` counts tokens in flight, which were scheduled under the behaviour before the
flip, as it should. The hasher (hasher.py) also runs in vLLM's input thread, for requests that the scheduler
has not seen; those have no class yet. Some of them are older than this module's part in the engine core.
"""

from collections.abc import Callable
from typing import Any

from indexcache_runtime.vllm.engine_core.hasher import ATTRIBUTE, Hasher, Names, Taint, salted

CLASSED = "_indexcache_classed"


class BlockNamer:
    """Names one engine core's blocks. Used by its thread alone, but for the hasher on new requests."""

    def __init__(
        self,
        scheduler: Any,
        block_size: int,
        opted_out: Callable[[Any], bool] = lambda request: False,
        failed: Callable[[str, Exception], None] | None = None,
        apart: Callable[[Any], bool] = lambda request: False,
        beyond: Callable[[Any], bool] = lambda request: False,
    ) -> None:
        """Name the scheduler's blocks.

        Args:
            scheduler: vLLM's.
            block_size: Tokens a block.
            opted_out: Whether a request never reuses. Its answer for a request never changes.
            failed: Is told what failed here, and what it was doing; without it, it is raised.
            apart: Whether a request is a probe that may reuse in shadow. Its answer never changes.
            beyond: Whether reuse doesn't reach a request. Once it is scheduled so, that never changes.
        """
        self._failed = failed
        self._scheduler = scheduler
        self._size = block_size
        self._opted_out, self._apart, self._beyond = opted_out, apart, beyond
        self._lookup: Callable[..., tuple[Any, int, int]] = scheduler.kv_cache_manager.get_computed_blocks
        self.current: str | None = None
        """The class of what is computed from the next step on; None is the baseline."""
        self.probes: str | None = None
        """The class of what probes apart compute where all else is the baseline; None: there are none."""

    def hasher(self, hasher: Names) -> Hasher:
        """Return a hasher of vLLM's with the class for requests that have one: itself, if it was wrapped
        where it was made.
        """
        if not isinstance(hasher, Hasher):
            return Hasher(hasher, self._failed)
        hasher.failed = self._failed
        return hasher

    def _own(self, request: Any) -> None:
        """See to it that a request that is about to get a class has a hasher that knows of it."""
        if not isinstance(request._block_hasher, Hasher):
            request._block_hasher = self.hasher(request._block_hasher)

    def _tell(self, doing: str, error: Exception) -> None:
        if self._failed is None:
            raise error
        self._failed(doing, error)

    def enter(self, behaviour: str | None, probes: str | None = None) -> int:
        """Have KV computed under this behaviour from the next step on, and by probes apart under that class.
        Returns how many requests in flight changed names."""
        if (behaviour, probes) == (self.current, self.probes):
            return 0
        self.current, self.probes = behaviour, probes
        return sum(
            self.rename(request)
            for request in self._scheduler.requests.values()
            if request.num_computed_tokens
        )

    def _class_of(self, request: Any) -> str | None:
        """Return the class of what a request computes from the next step on."""
        if self.current is None:
            return self.probes if self.probes is not None and self._apart(request) else None
        return None if self._beyond(request) else self.current

    def lookup(self, request: Any, *limit: Any) -> tuple[Any, int, int]:
        """Stand in for KVCacheManager.get_computed_blocks: return what of a request is cached, and from where
        on it has a class.

        limit: what newer releases of vLLM ask with, passed on."""
        taint: Taint | None = getattr(request, ATTRIBUTE, None)
        if (
            taint is not None
        ):  # admitted before and not allocated, or preempted: nothing of it is computed any more
            request.block_hashes = taint.base
            delattr(request, ATTRIBUTE)
        found = self._lookup(request, *limit)
        base = request.block_hashes
        try:
            return self._best(request, found, *limit)
        except Exception as e:  # noqa: BLE001  # told; what is found at the baseline is right in any case
            request.block_hashes = base
            request.__dict__.pop(ATTRIBUTE, None)
            self._tell("looking a request up in the prefix cache", e)
            return found

    def _best(self, request: Any, found: tuple[Any, int, int], *limit: Any) -> tuple[Any, int, int]:
        """Choose among what is cached: at the baseline (`found`), there and on under the class, or under the
        class alone."""
        name = self._class_of(request)
        if name is None or request._block_hasher is None or self._opted_out(request):
            return found
        base = request.block_hashes
        classed = self._classed(request, name, base)
        first = found[1] // self._size
        best, names = found, base[:first] + classed[first:]
        for candidate, start in ((names, first), (classed, 0)):
            request.block_hashes = candidate
            again = self._lookup(request, *limit)
            if again[1] > best[1]:
                best, names, first = again, candidate, start
        request.block_hashes = names
        self._own(request)
        setattr(request, ATTRIBUTE, Taint(name, name, base, first))
        return best

    def _classed(self, request: Any, name: str, base: list[bytes]) -> list[bytes]:
        """Return the names of `base` under a class. Kept: vLLM looks a waiting request up at every step, and
        a long prompt has thousands."""
        kept: tuple[str, bytes, list[bytes]] | None = getattr(request, CLASSED, None)
        # Names are chained: if the last one is as it was, so are all before it.
        known = len(kept[2]) if kept else 0
        same = (
            kept is not None
            and kept[0] == name
            and known <= len(base)
            and (known == 0 or base[known - 1] == kept[1])
        )
        classed = kept[2] if kept is not None and same else []
        classed = classed + [salted(name, block) for block in base[len(classed) :]]
        setattr(request, CLASSED, (name, base[-1] if base else b"", classed))
        return classed.copy()

    def reused_tokens(self, request: Any, hits: int) -> int:
        """Return how many of the tokens that an admitted request found in the cache lie in blocks with a
        class."""
        taint: Taint | None = getattr(request, ATTRIBUTE, None)
        return 0 if taint is None else max(hits - taint.first * self._size, 0)

    def rename(self, request: Any) -> bool:
        """Name anew what a request in flight computes from the next step on. Returns whether that changed its
        names."""
        if request._block_hasher is None or self._opted_out(request):
            return False
        behaviour = self._class_of(request)
        taint: Taint | None = getattr(request, ATTRIBUTE, None)
        if (taint.last if taint else None) == behaviour:
            return False
        first = request.num_computed_tokens // self._size
        if taint is None:
            assert behaviour is not None
            self._own(request)
            taint = Taint(behaviour, behaviour, list(request.block_hashes), first)
            setattr(request, ATTRIBUTE, taint)
        else:
            taint.name, taint.last = f"{taint.name}>{behaviour or 'off'}", behaviour
        request.block_hashes[first:] = [salted(taint.name, block) for block in taint.base[first:]]
        return True

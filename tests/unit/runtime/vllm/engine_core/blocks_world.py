"""An engine core in small, for tests of its blocks' names: requests, a cache, and vLLM's own hasher."""

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from types import SimpleNamespace
from typing import Any

from indexcache_runtime.vllm.engine_core.blocks import BlockNamer
from indexcache_runtime.vllm.engine_core.hasher import salted

SIZE = 4
SHADOW = "probe-x"
"""The class of probes apart."""
Behaviours = frozenset[str | None]


@dataclass(eq=False)
class FakeRequest:
    """Holds what of vLLM's Request the names depend on."""

    request_id: str
    tokens: list[int]
    _block_hasher: Callable[["FakeRequest"], list[bytes]] | None
    block_hashes: list[bytes] = field(default_factory=list)
    num_computed_tokens: int = 0
    under: list[Behaviours] = field(default_factory=list)
    """Of each computed token: the behaviours that its KV owes to."""
    opted_out: bool = False
    apart: bool = False

    def update(self) -> None:
        if self._block_hasher is not None:
            self.block_hashes.extend(self._block_hasher(self))

    def append(self, token: int) -> None:
        self.tokens.append(token)
        self.update()


def names(request: FakeRequest) -> list[bytes]:
    """Return names as vLLM's hasher gives them: chained on the last name in the list."""
    new: list[bytes] = []
    start = len(request.block_hashes) * SIZE
    parent = request.block_hashes[-1] if request.block_hashes else b""
    for a in range(start, len(request.tokens) - SIZE + 1, SIZE):
        parent = hashlib.sha256(parent + repr(request.tokens[a : a + SIZE]).encode()).digest()
        new.append(parent)
    return new


class World:
    """An engine core in small."""

    def __init__(self, blocks: type[BlockNamer] = BlockNamer) -> None:
        self.requests: dict[str, FakeRequest] = {}
        self.cache: dict[bytes, list[Behaviours]] = {}
        manager = SimpleNamespace(get_computed_blocks=self._find)
        scheduler = SimpleNamespace(requests=self.requests, kv_cache_manager=manager)
        self.blocks = blocks(
            scheduler, SIZE, lambda request: request.opted_out, apart=lambda request: request.apart
        )
        self.hasher = self.blocks.hasher(names)
        self.behaviour: str | None = None
        self.shadow = False
        """Whether probes apart run under reuse where the behaviour is None."""

    def _find(self, request: FakeRequest) -> tuple[list[bytes], int, int]:
        return cached_prefix(self.cache, request)

    def add(
        self, tokens: list[int], *, opted_out: bool = False, foreign: bool = False, apart: bool = False
    ) -> FakeRequest:
        """Add a new request. foreign: it has vLLM's own hasher, as one that was made before the plugin's was
        there. apart: it is a probe that runs under reuse in shadow where it has a step to itself.
        """
        hasher = names if foreign else self.hasher
        request = FakeRequest(
            f"r{len(self.requests)}-{random.random()}",
            list(tokens),
            hasher,
            opted_out=opted_out,
            apart=apart,
        )
        request.update()
        self.requests[request.request_id] = request
        return request

    def step(self, request: FakeRequest, tokens: int, ahead: int = 0, company: bool = False) -> None:
        """Schedule tokens of a request under the behaviour in force; admit it if nothing of it is computed.

        ahead: how far past the known tokens, as vLLM's asynchronous scheduling goes: what is computed there
        is known only later. company: a user's request is in the step too, so that a probe isn't apart.
        """
        shadow = self.shadow and self.behaviour is None
        self.blocks.enter(self.behaviour, SHADOW if shadow else None)
        computed = (
            None if request.opted_out else self.behaviour
        )  # a step that holds such a request runs all Full
        if shadow and request.apart and not company:
            computed = SHADOW
        if request.num_computed_tokens == 0:
            found, hits, _ = self.blocks.lookup(request)
            request.under = [u for name in found for u in self.cache[name]]
            assert len(request.under) == hits
            for u in request.under:  # the promise
                assert u <= {None, computed, SHADOW if request.apart and shadow else None}
            request.num_computed_tokens = hits
            if request._block_hasher is not None:  # vLLM counts on it, and goes down else
                assert len(request.block_hashes) == len(request.tokens) // SIZE
        end = max(
            min(request.num_computed_tokens + tokens, len(request.tokens) + ahead),
            request.num_computed_tokens,
        )
        for _ in range(request.num_computed_tokens, end):
            before = request.under[-1] if request.under else frozenset[str | None]()
            request.under.append(before | {computed})
        request.num_computed_tokens = end
        self.register(request)

    def register(self, request: FakeRequest) -> None:
        """Enter the blocks that are full, and whose tokens are known, into the cache."""
        if request._block_hasher is None:
            return
        for i in range(min(request.num_computed_tokens, len(request.tokens)) // SIZE):
            mine = request.under[i * SIZE : (i + 1) * SIZE]
            others = self.cache.get(
                request.block_hashes[i], mine
            )  # whichever block is found must do for all who ask for the name
            self.cache[request.block_hashes[i]] = [a | b for a, b in zip(mine, others, strict=True)]

    def preempt(self, request: FakeRequest) -> None:
        request.num_computed_tokens, request.under = 0, []

    def run(self, tokens: list[int]) -> FakeRequest:
        """Run a request from beginning to end."""
        request = self.add(tokens)
        self.step(request, len(tokens))
        del self.requests[request.request_id]
        return request


PROMPT = list(range(22))


def cached_prefix(cache: Mapping[bytes, Any], request: Any) -> tuple[list[bytes], int, int]:
    """Return the names of a request's first blocks that are in a cache, and their tokens, as vLLM finds them:
    never all of a prompt."""
    found = list(takewhile(cache.__contains__, request.block_hashes[: (len(request.tokens) - 1) // SIZE]))
    return found, len(found) * SIZE, 0


def baseline(tokens: list[int]) -> list[bytes]:
    """Return the baseline's names of a prompt's full blocks."""
    return names(FakeRequest("x", list(tokens), None))


def salts(name: str, tokens: list[int], first: int = 0) -> list[bytes]:
    """Return the names of a prompt of which all from one block on has a class."""
    base = baseline(tokens)
    return base[:first] + [salted(name, block) for block in base[first:]]

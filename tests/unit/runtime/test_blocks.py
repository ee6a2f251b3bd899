"""Taint of cached blocks, against a cache that remembers under which behaviours each block was really computed.

The scheduler here is vLLM's in the little that matters: names are taken from `request.block_hashes` when a block is full, which is when
its last token is scheduled; admission looks up the longest prefix.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indexcache_runtime.vllm.blocks import Blocks

SIZE = 4
Behaviours = frozenset[str | None]


@dataclass(eq=False)
class FakeRequest:
    """What of vLLM's Request the names depend on."""

    request_id: str
    tokens: list[int]
    _block_hasher: Callable[["FakeRequest"], list[bytes]] | None
    block_hashes: list[bytes] = field(default_factory=list)
    num_computed_tokens: int = 0
    under: list[Behaviours] = field(default_factory=list)
    """Of each computed token: the behaviours that its KV owes to."""
    opted_out: bool = False

    def update(self) -> None:
        if self._block_hasher is not None:
            self.block_hashes.extend(self._block_hasher(self))

    def append(self, token: int) -> None:
        self.tokens.append(token)
        self.update()


def names(request: FakeRequest) -> list[bytes]:
    """As vLLM's hasher: chained on the last name in the list."""
    new: list[bytes] = []
    start = len(request.block_hashes) * SIZE
    parent = request.block_hashes[-1] if request.block_hashes else b""
    for a in range(start, len(request.tokens) - SIZE + 1, SIZE):
        parent = hashlib.sha256(parent + repr(request.tokens[a : a + SIZE]).encode()).digest()
        new.append(parent)
    return new


class World:
    """An engine core in small."""

    def __init__(self, blocks: type[Blocks] = Blocks) -> None:
        self.requests: dict[str, FakeRequest] = {}
        self.cache: dict[bytes, list[Behaviours]] = {}
        manager = SimpleNamespace(get_computed_blocks=self._find)
        scheduler = SimpleNamespace(requests=self.requests, kv_cache_manager=manager)
        self.blocks = blocks(scheduler, SIZE, lambda request: request.opted_out)
        self.hasher = self.blocks.hasher(names)
        self.behaviour: str | None = None

    def _find(self, request: FakeRequest) -> tuple[list[bytes], int, int]:
        found: list[bytes] = []
        for name in request.block_hashes[: (len(request.tokens) - 1) // SIZE]:
            if name not in self.cache:
                break
            found.append(name)
        return found, len(found) * SIZE, 0

    def add(self, tokens: list[int], *, opted_out: bool = False) -> FakeRequest:
        request = FakeRequest(f"r{len(self.requests)}-{random.random()}", list(tokens), self.hasher, opted_out=opted_out)
        request.update()
        self.requests[request.request_id] = request
        return request

    def step(self, request: FakeRequest, tokens: int, ahead: int = 0) -> None:
        """Schedule tokens of a request under the behaviour in force; admit it if nothing of it is computed.

        ahead: how far past the known tokens, as vLLM's asynchronous scheduling goes: what is computed there is known only later.
        """
        self.blocks.enter(self.behaviour)
        computed = None if request.opted_out else self.behaviour  # a step that holds such a request runs all Full
        if request.num_computed_tokens == 0:
            found, hits, _ = self.blocks.lookup(request)
            request.under = [u for name in found for u in self.cache[name]]
            assert len(request.under) == hits
            for u in request.under:  # the promise
                assert u <= {None, computed}
            request.num_computed_tokens = hits
        end = max(min(request.num_computed_tokens + tokens, len(request.tokens) + ahead), request.num_computed_tokens)
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
            others = self.cache.get(request.block_hashes[i], mine)  # whichever block is found must do for all who ask for the name
            self.cache[request.block_hashes[i]] = [a | b for a, b in zip(mine, others, strict=True)]

    def preempt(self, request: FakeRequest) -> None:
        request.num_computed_tokens, request.under = 0, []

    def run(self, tokens: list[int]) -> FakeRequest:
        """A request from beginning to end."""
        request = self.add(tokens)
        self.step(request, len(tokens))
        del self.requests[request.request_id]
        return request


actions = st.lists(
    st.tuples(st.sampled_from(["add", "step", "ahead", "append", "flip", "preempt", "finish"]), st.integers(0, 5), st.integers(1, 13)),
    max_size=80,
)


def play(world: World, script: list[tuple[str, int, int]]) -> None:
    for action, which, number in script:
        live = list(world.requests.values())
        request = live[which % len(live)] if live else None
        if action == "add":
            world.add([which % 2] * number + [7] * (number % 3), opted_out=which == 5)
        elif action == "flip":
            world.behaviour = [None, None, None, "x", "x", "y"][which]
        elif request is None:
            continue
        elif action == "step":
            world.step(request, number)
        elif action == "ahead" and request.num_computed_tokens >= len(request.tokens):
            world.step(request, 1, ahead=2)
        elif action == "append" and request.num_computed_tokens >= len(request.tokens):
            request.append(which % 2)
            world.register(request)
        elif action == "preempt":
            world.preempt(request)
        elif action == "finish":
            del world.requests[request.request_id]


@settings(max_examples=400, deadline=None)
@given(actions)
def test_nobody_reads_what_was_computed_under_a_behaviour_not_his(script: list[tuple[str, int, int]]) -> None:
    play(World(), script)


def play_all(blocks: type[Blocks], scripts: list[list[tuple[str, int, int]]]) -> None:
    for script in scripts:
        play(World(blocks), script)


class Unsalted(Blocks):
    """A build that forgot the salt."""

    def enter(self, behaviour: str | None) -> int:
        return 0


class NotRenamed(Blocks):
    """A build that salts at admission only."""

    def enter(self, behaviour: str | None) -> int:
        self.current = behaviour
        return 0


class OptOutForgotten(Blocks):
    """A build whose blocks know nothing of opting out."""

    def __init__(self, scheduler: object, block_size: int, opted_out: object) -> None:
        super().__init__(scheduler, block_size)


@pytest.mark.parametrize("mutant", [Unsalted, NotRenamed, OptOutForgotten])
def test_the_property_is_broken_by_builds_that_forget(mutant: type[Blocks]) -> None:
    rng = random.Random(0)
    kinds = ["add", "step", "step", "step", "ahead", "append", "append", "flip", "finish"]
    scripts = [[(rng.choice(kinds), rng.randrange(6), rng.randrange(1, 14)) for _ in range(80)] for _ in range(500)]
    with pytest.raises(AssertionError):
        play_all(mutant, scripts)


PROMPT = list(range(22))


def test_baseline_blocks_survive_and_reuse_reads_them() -> None:
    w = World()
    w.run(PROMPT)
    w.behaviour = "x"
    longer = [*PROMPT[:20], *range(100, 120)]
    first = w.add(longer)
    w.step(first, 40)
    assert w.blocks.reused_tokens(first, 20) == 0
    again = w.add([*longer, 1])
    w.step(again, 1)
    assert (again.num_computed_tokens, w.blocks.reused_tokens(again, 40)) == (41, 20)
    w.behaviour = None
    back = w.add([*longer, 1])
    w.step(back, 1)
    assert back.num_computed_tokens == 21


def test_a_class_computed_from_the_start_is_found_when_the_baseline_is_not_cached() -> None:
    w = World()
    w.behaviour = "x"
    w.run(PROMPT)
    again = w.add(PROMPT)
    w.step(again, 1)
    assert (again.num_computed_tokens, w.blocks.reused_tokens(again, 20)) == (21, 20)


def test_the_block_across_a_flip_belongs_to_nobody_else() -> None:
    w = World()
    w.behaviour = "x"
    r = w.add(PROMPT)
    w.step(r, 10)
    w.behaviour = None
    assert w.blocks.enter(None) == 1
    w.step(r, 12)
    w.behaviour = "x"
    again = w.add(PROMPT)
    w.step(again, 1)
    assert again.num_computed_tokens == 8 + 1


def test_a_preempted_request_starts_clean() -> None:
    w = World()
    w.behaviour = "x"
    r = w.add(PROMPT)
    w.step(r, 10)
    w.preempt(r)
    w.behaviour = None
    w.step(r, 22)
    assert r.under == [frozenset({None})] * 22
    clean = w.add(PROMPT)
    assert clean.block_hashes == r.block_hashes


def test_who_opted_out_has_the_baselines_names() -> None:
    w = World()
    clean = w.run(PROMPT)
    w.cache.clear()
    w.behaviour = "x"
    w.run(PROMPT)
    r = w.add(PROMPT, opted_out=True)
    w.step(r, 10)
    assert (r.num_computed_tokens, w.blocks.reused_tokens(r, 0)) == (10, 0)
    w.behaviour = None
    assert w.blocks.enter(None) == 0
    w.step(r, 12)
    assert r.block_hashes == clean.block_hashes


def test_no_prefix_cache_no_names() -> None:
    w = World()
    r = FakeRequest("r", PROMPT, None)
    w.requests["r"] = r
    w.behaviour = "x"
    w.step(r, 10)
    w.behaviour = None
    assert w.blocks.enter(None) == 0

"""Taint of cached blocks, against a cache that remembers under which behaviours each block was really
computed.

The scheduler here is vLLM's in the little that matters: names are taken from `request.block_hashes` when a
block is full, which is when its last token is scheduled; admission looks up the longest prefix.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indexcache_runtime.vllm.engine_core.blocks import BlockNamer
from indexcache_runtime.vllm.engine_core.hasher import Hasher, salted, vllms_own, wrap_where_made

SIZE = 4
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

    def add(self, tokens: list[int], *, opted_out: bool = False, foreign: bool = False) -> FakeRequest:
        """Add a new request. foreign: it has vLLM's own hasher, as one that was made before the plugin's was
        there.
        """
        hasher = names if foreign else self.hasher
        request = FakeRequest(
            f"r{len(self.requests)}-{random.random()}", list(tokens), hasher, opted_out=opted_out
        )
        request.update()
        self.requests[request.request_id] = request
        return request

    def step(self, request: FakeRequest, tokens: int, ahead: int = 0) -> None:
        """Schedule tokens of a request under the behaviour in force; admit it if nothing of it is computed.

        ahead: how far past the known tokens, as vLLM's asynchronous scheduling goes: what is computed there
        is known only later.
        """
        self.blocks.enter(self.behaviour)
        computed = (
            None if request.opted_out else self.behaviour
        )  # a step that holds such a request runs all Full
        if request.num_computed_tokens == 0:
            found, hits, _ = self.blocks.lookup(request)
            request.under = [u for name in found for u in self.cache[name]]
            assert len(request.under) == hits
            for u in request.under:  # the promise
                assert u <= {None, computed}
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


actions = st.lists(
    st.tuples(
        st.sampled_from(["add", "step", "ahead", "append", "flip", "preempt", "finish"]),
        st.integers(0, 5),
        st.integers(1, 13),
    ),
    max_size=80,
)


def play(world: World, script: list[tuple[str, int, int]]) -> None:
    for action, which, number in script:
        live = list(world.requests.values())
        request = live[which % len(live)] if live else None
        if action == "add":
            world.add(
                [which % 2] * number + [7] * (number % 3), opted_out=which == 5, foreign=which in (3, 4)
            )
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


@pytest.mark.simulation
@settings(max_examples=400, deadline=None)
@given(actions)
def test_nobody_reads_what_was_computed_under_a_behaviour_not_his(script: list[tuple[str, int, int]]) -> None:
    play(World(), script)


def play_all(blocks: type[BlockNamer], scripts: list[list[tuple[str, int, int]]]) -> None:
    for script in scripts:
        play(World(blocks), script)


class Unsalted(BlockNamer):
    """A build that forgot the salt."""

    def enter(self, behaviour: str | None) -> int:
        return 0


class NotRenamed(BlockNamer):
    """A build that salts at admission only."""

    def enter(self, behaviour: str | None) -> int:
        self.current = behaviour
        return 0


class OptOutForgotten(BlockNamer):
    """A build whose blocks know nothing of opting out."""

    def __init__(self, scheduler: object, block_size: int, opted_out: object) -> None:
        super().__init__(scheduler, block_size)


class ForeignHashersLeft(BlockNamer):
    """A build that leaves requests the hasher that they came with."""

    def _own(self, request: FakeRequest) -> None: ...


@pytest.mark.simulation
@pytest.mark.parametrize("mutant", [Unsalted, NotRenamed, OptOutForgotten, ForeignHashersLeft])
def test_the_property_is_broken_by_builds_that_forget(mutant: type[BlockNamer]) -> None:
    rng = random.Random(0)
    kinds = ["add", "step", "step", "step", "ahead", "append", "append", "flip", "finish"]
    scripts = [
        [(rng.choice(kinds), rng.randrange(6), rng.randrange(1, 14)) for _ in range(80)] for _ in range(500)
    ]
    with pytest.raises((AssertionError, IndexError)):  # the latter where vLLM would go down
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


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "waiting"])
def test_a_request_with_vllms_own_hasher_grows_under_its_class(is_running: bool) -> None:
    """Made before the plugin had its part in the engine core."""
    w = World()
    r = w.add([1, 2], foreign=True)
    if is_running:
        w.step(r, 2)
    w.behaviour = "x"
    w.step(r, 2)
    for token in range(6):
        r.append(token)
        w.step(r, 1)
    assert r.block_hashes == salts("x", r.tokens)
    w.preempt(r)
    w.behaviour = None
    w.step(r, 8)
    assert r.under == [frozenset({None})] * 8
    assert r.block_hashes == baseline(r.tokens)


def test_a_hasher_that_was_wrapped_where_it_was_made_stays_the_one_of_all_its_requests() -> None:
    module = SimpleNamespace(get_request_block_hasher=lambda block_size, hash_function: names)
    wrap_where_made(module)
    made = module.get_request_block_hasher(SIZE, None)
    early = FakeRequest("early", PROMPT, made)
    early.update()
    assert early.block_hashes == baseline(PROMPT)
    w = World()
    assert w.blocks.hasher(made) is made
    assert isinstance(made, Hasher)
    assert vllms_own(made) is vllms_own(names) is names
    assert vllms_own(None) is None


def test_a_vllm_that_makes_no_hasher_is_left_alone() -> None:
    module = SimpleNamespace()
    wrap_where_made(module)
    assert not vars(module)


# ------------------------------------------------------------------------------------------ by names


def baseline(tokens: list[int]) -> list[bytes]:
    """Return the baseline's names of a prompt's full blocks."""
    return names(FakeRequest("x", list(tokens), None))


def salts(name: str, tokens: list[int], first: int = 0) -> list[bytes]:
    """Return the names of a prompt of which all from one block on has a class."""
    base = baseline(tokens)
    return base[:first] + [salted(name, block) for block in base[first:]]


def test_a_name_under_a_class_is_as_long_as_vllms_own_and_another_for_each_class_and_block() -> None:
    block, other = baseline(PROMPT)[:2]
    assert len({salted("x", block), salted("y", block), salted("x", other), block}) == 4
    assert {len(salted(name, block)) for name in ("", "x", "x>off")} == {32}
    assert salted("x", block) == hashlib.sha256(b"indexcache\0x\0" + block).digest()


def test_names_under_reuse_go_on_from_where_the_baseline_ends() -> None:
    w = World()
    w.run(PROMPT[:8])
    w.behaviour = "x"
    r = w.add(PROMPT)
    w.step(r, 22)
    assert r.block_hashes == salts("x", PROMPT, 2)
    r.append(7)
    r.append(7)
    assert r.block_hashes == salts("x", [*PROMPT, 7, 7], 2)


def test_entering_the_same_behaviour_again_changes_nothing() -> None:
    w = World()
    w.behaviour = "x"
    r = w.add(PROMPT)
    w.step(r, 10)
    before = list(r.block_hashes)
    assert w.blocks.enter("x") == 0
    assert r.block_hashes == before


def test_a_flip_renames_what_is_not_computed_and_counts_who_was_renamed() -> None:
    w = World()
    r, fresh, other = w.add(PROMPT), w.add(PROMPT), w.add([9] * 22)
    w.step(r, 10)
    w.step(other, 8)
    assert w.blocks.enter("x") == 2
    assert r.block_hashes == salts("x", PROMPT, 2)
    assert other.block_hashes == salts("x", [9] * 22, 2)
    assert fresh.block_hashes == baseline(PROMPT)
    assert w.blocks.enter(None) == 2
    assert r.block_hashes == salts("x>off", PROMPT, 2)
    assert w.blocks.enter("y") == 2
    assert r.block_hashes == salts("x>off>y", PROMPT, 2)


def test_what_was_computed_before_a_flip_keeps_its_name() -> None:
    w = World()
    w.behaviour = "x"
    r = w.add(PROMPT)
    w.step(r, 10)
    w.blocks.enter(None)
    assert r.block_hashes == salts("x", PROMPT)[:2] + salts("x>off", PROMPT)[2:]
    w.blocks.enter("x")
    assert r.block_hashes == salts("x", PROMPT)[:2] + salts("x>off>x", PROMPT)[2:]


def test_a_request_that_a_flip_finds_waiting_is_not_renamed() -> None:
    w = World()
    r = w.add(PROMPT)
    w.step(r, 0)
    assert w.blocks.enter("x") == 0
    assert r.block_hashes == baseline(PROMPT)


@pytest.mark.parametrize("opted_out", [True, False])
def test_who_is_never_renamed_hides_no_other(opted_out: bool) -> None:
    w = World()
    first = w.add(PROMPT, opted_out=True) if opted_out else FakeRequest("n", PROMPT, None)
    w.requests.setdefault(first.request_id, first)
    second = w.add([9] * 22)
    w.step(first, 10)
    w.step(second, 10)
    assert w.blocks.enter("x") == 1
    assert second.block_hashes == salts("x", [9] * 22, 2)


def counted(w: World, r: FakeRequest) -> list[int]:
    """Return how many blocks vLLM is asked for in one lookup, each time."""
    asked: list[int] = []
    find = w.blocks._lookup

    def lookup(request: FakeRequest, *limit: Any) -> tuple[list[bytes], int, int]:
        found: tuple[list[bytes], int, int] = find(request)
        asked.append(found[1])
        return found

    w.blocks._lookup = lookup
    w.blocks.lookup(r)
    return asked


def test_the_longer_of_both_ways_is_found() -> None:
    """Baseline blocks and then the class, or the class from the start."""
    w = World()
    w.behaviour = "x"
    w.run(PROMPT)
    w.behaviour = None
    w.run(PROMPT[:5])
    w.blocks.enter("x")
    r = w.add(PROMPT)
    assert counted(w, r) == [4, 20, 20]
    assert r.block_hashes == salts("x", PROMPT, 1)
    assert w.blocks.reused_tokens(r, 20) == 16
    assert w.blocks.reused_tokens(r, 4) == 0


def test_the_class_alone_wins_where_it_reaches_further() -> None:
    w = World()
    w.behaviour = "x"
    w.run(PROMPT)
    for name in salts("x", PROMPT)[1:2]:
        del w.cache[name]
    w.behaviour = None
    w.run(PROMPT[:5])
    w.cache[salted("x", baseline(PROMPT)[1])] = [frozenset({"x"})] * SIZE
    del w.cache[baseline(PROMPT)[0]]
    w.blocks.enter("x")
    r = w.add(PROMPT)
    found = w.blocks.lookup(r)
    assert (found[1], r.block_hashes) == (20, salts("x", PROMPT))
    assert w.blocks.reused_tokens(r, 20) == 20


def test_a_lookups_limit_is_passed_on() -> None:
    w = World()
    w.blocks.enter("x")
    limits: list[tuple[Any, ...]] = []

    def lookup(request: FakeRequest, *limit: Any) -> tuple[list[bytes], int, int]:
        limits.append(limit)
        return [], 0, 0

    w.blocks._lookup = lookup
    w.blocks.lookup(w.add(PROMPT), 7, "a")
    assert limits == [(7, "a")] * 3


def test_a_prompt_looked_up_again_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM asks at every step while a request waits."""
    w = World()
    w.blocks.enter("x")
    r = w.add(PROMPT)
    made: list[bytes] = []

    def counting(name: str, block: bytes) -> bytes:
        made.append(block)
        return salted(name, block)

    for module in ("blocks", "hasher"):
        monkeypatch.setattr(f"indexcache_runtime.vllm.engine_core.{module}.salted", counting)
    for _ in range(3):
        w.blocks.lookup(r)
        assert r.block_hashes == salts("x", PROMPT)
    assert len(made) == 5
    r.append(7)
    r.append(7)
    w.blocks.lookup(r)
    assert r.block_hashes == salts("x", [*PROMPT, 7, 7])
    assert len(made) == 7  # the block that was filled, as it was filled and at its lookup
    w.blocks.enter("y")
    w.blocks.lookup(r)
    assert r.block_hashes == salts("y", [*PROMPT, 7, 7])


def test_a_request_without_a_full_block_has_no_names() -> None:
    w = World()
    w.blocks.enter("x")
    r = w.add([1, 2])
    for _ in range(2):
        w.blocks.lookup(r)
        assert r.block_hashes == []
    r.tokens += [3, 4]
    r.update()
    w.blocks.lookup(r)
    assert r.block_hashes == salts("x", [1, 2, 3, 4])


def test_a_prompt_that_was_cut_and_goes_on_otherwise_is_named_anew() -> None:
    """A streaming session: vLLM cuts the list of names, and what comes is another text."""
    w = World()
    w.behaviour = "x"
    r = w.add(PROMPT)
    w.step(r, 22)
    del r.block_hashes[2:], r.tokens[8:]
    r.tokens += [5] * 8
    r.update()
    expected = [*PROMPT[:8], *[5] * 8]
    assert r.block_hashes == salts("x", expected)
    r.num_computed_tokens = 0
    w.blocks.lookup(r)
    assert r.block_hashes == salts("x", expected)
    shorter = w.add([*PROMPT[:8], 6, 6, 6, 6])
    w.blocks.lookup(shorter)
    assert shorter.block_hashes == salts("x", [*PROMPT[:8], 6, 6, 6, 6])


def test_the_names_that_a_request_has_survive_a_hasher_that_fails() -> None:
    w = World()
    w.behaviour = "x"
    r = w.add(PROMPT)
    w.step(r, 22)
    before = list(r.block_hashes)

    def failing(request: FakeRequest) -> list[bytes]:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError):
        w.blocks.hasher(failing)(r)
    assert r.block_hashes == before


def test_a_request_without_a_class_found_nothing_of_reuse() -> None:
    w = World()
    r = w.add(PROMPT)
    w.step(r, 10)
    assert w.blocks.reused_tokens(r, 8) == 0
    free = BlockNamer(
        SimpleNamespace(requests={}, kv_cache_manager=SimpleNamespace(get_computed_blocks=w._find)), SIZE
    )
    free.enter("x")
    again = w.add(PROMPT)
    again._block_hasher = names
    free.lookup(again)
    assert again.block_hashes == salts("x", PROMPT, 2)


def test_before_any_behaviour_is_entered_all_is_the_baseline() -> None:
    w = World()
    r = w.add(PROMPT)
    assert w.blocks.lookup(r) == ([], 0, 0)
    assert r.block_hashes == baseline(PROMPT)
    assert w.blocks.current is None


def test_what_a_flip_renamed_has_a_class_from_there_on() -> None:
    w = World()
    r = w.add(PROMPT)
    w.step(r, 10)
    w.blocks.enter("x")
    assert w.blocks.reused_tokens(r, 20) == 20 - 8

"""Tests that after a kill of reuse nobody is served what it made: tokens equal those of an engine that never
reused.

A build that forgets the salt must fail here, in each of the ways that it can forget.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from indexcache_core.contract import Mode
from indexcache_runtime.vllm.engine_core.blocks import BlockNamer
from indexcache_runtime.vllm.engine_core.hasher import vllms_own

from tests.conformance.engine import Answer, Engine
from tests.engine.cpu_binding import at_each_block_size

pytestmark = [pytest.mark.engine, at_each_block_size]

PATTERN = "FSSS"


def prompts(seed: int, bases: int, each: int) -> list[list[int]]:
    """Return prompts in families that share 256 tokens, whole blocks at either size, and end in 40 of their
    own."""
    g = torch.Generator().manual_seed(seed)

    def draw(n: int) -> list[int]:
        return torch.randint(3, 256, (n,), generator=g).tolist()

    return [base + draw(40) for base in [draw(256) for _ in range(bases)] for _ in range(each)]


PROMPTS = prompts(5, bases=10, each=5)


@pytest.fixture(scope="module")
def clean(cpu_engine: tuple[Engine, Path]) -> list[Answer]:
    """Return what the engine answers at the baseline, with nothing in its cache."""
    cpu_engine[0].reset()
    return cpu_engine[0].ask(PROMPTS, 12)


def tokens(answers: list[Answer]) -> list[tuple[int, ...]]:
    return [a.tokens for a in answers]


def after_traffic(engine: Engine) -> list[Answer]:
    """Send traffic under reuse with the same beginnings, a kill, and then the prompts at the baseline."""
    engine.put(Mode.ON, PATTERN)
    engine.ask(PROMPTS, 12)
    engine.kill()
    return engine.ask(PROMPTS, 12)


def after_flips_in_mid_request(engine: Engine) -> list[Answer]:
    """Send requests that begin under one state and end under another, in both directions, and then the
    prompts at the baseline.
    """
    names = [engine.start(p, 12) for p in PROMPTS[::2]]
    for flip in (lambda: engine.put(Mode.ON, PATTERN), engine.kill) * 8:
        flip()
        for _ in range(3):
            engine.step()
    engine.finish(names)
    return engine.ask(PROMPTS, 12)


def test_fifty_prompts_after_a_fallback(engine: Engine, clean: list[Answer]) -> None:
    assert tokens(after_traffic(engine)) == tokens(clean)


def test_fifty_prompts_after_flips_in_mid_request(engine: Engine, clean: list[Answer]) -> None:
    before = engine.state.cache
    assert tokens(after_flips_in_mid_request(engine)) == tokens(clean)
    assert engine.state.cache.resalted_requests > before.resalted_requests
    assert engine.state.mode is Mode.TRIPPED


def no_enter(blocks: BlockNamer, behaviour: str | None, probes: str | None = None) -> int:
    return 0


def enter_without_renaming(blocks: BlockNamer, behaviour: str | None, probes: str | None = None) -> int:
    blocks.current = behaviour
    return 1


@pytest.mark.parametrize(
    ("scenario", "mutant"),
    [
        (after_traffic, no_enter),
        (after_flips_in_mid_request, no_enter),
        (after_flips_in_mid_request, enter_without_renaming),
    ],
)
def test_a_build_without_the_salt_fails(
    engine: Engine,
    clean: list[Answer],
    monkeypatch: pytest.MonkeyPatch,
    scenario: Callable[[Engine], list[Answer]],
    mutant: Any,
) -> None:
    monkeypatch.setattr(BlockNamer, "enter", mutant)
    assert tokens(scenario(engine)) != tokens(clean)


def test_warm_baseline_blocks_survive_a_canary_and_are_read_by_it(
    engine: Engine, clean: list[Answer]
) -> None:
    each = engine.cacheable(PROMPTS[0])
    first = engine.ask(PROMPTS[:5], 4)
    assert max(a.cached for a in first) >= 256
    before = engine.state.cache
    engine.put(Mode.ON, PATTERN)
    reused = engine.ask_each(PROMPTS[:5], 4)
    assert all(a.cached >= each for a in reused)
    assert engine.state.cache.baseline_hits - before.baseline_hits == sum(a.cached for a in reused)
    assert engine.state.cache.reuse_hits == before.reuse_hits
    engine.kill()
    back = engine.ask_each(PROMPTS[:5], 12)
    assert all(a.cached >= each for a in back)
    assert tokens(back) == tokens(clean[:5])


def test_requests_under_the_same_reuse_share_its_blocks_and_other_flags_do_not(engine: Engine) -> None:
    before = engine.state.cache
    engine.put(Mode.ON, PATTERN)
    engine.ask_each(PROMPTS[:2], 4)
    shared = engine.state.cache
    assert shared.reuse_hits - before.reuse_hits == 256
    engine.kill()
    engine.put(Mode.ON, PATTERN, sample_rows=1)  # computes the same
    assert engine.ask(PROMPTS[:1], 4)[0].cached >= engine.cacheable(PROMPTS[0])
    engine.put(Mode.ON, PATTERN, min_context_tokens=100)
    assert engine.ask(PROMPTS[:1], 4)[0].cached == 0
    engine.put(Mode.ON, "FFSS")
    assert engine.ask(PROMPTS[:1], 4)[0].cached == 0
    engine.put(Mode.SHADOW, PATTERN)
    assert engine.ask(PROMPTS[:1], 4)[0].cached == 0


def test_a_request_preempted_after_the_kill_is_clean(engine: Engine, clean: list[Answer]) -> None:
    engine.put(Mode.ON, PATTERN)
    names = [engine.start(p, 12) for p in PROMPTS[:3]]
    engine.step()
    engine.kill()
    assert engine.core.scheduler.reset_prefix_cache(reset_running_requests=True)
    assert tokens(engine.finish(names)) == tokens(clean[:3])
    again = engine.ask_each(PROMPTS[:3], 12)
    assert tokens(again) == tokens(clean[:3])
    assert all(a.cached >= engine.cacheable(PROMPTS[0]) for a in again)


def from_before(engine: Engine, prompt: list[int], monkeypatch: pytest.MonkeyPatch) -> str:
    """Start a request as vLLM's input thread does before the engine core is taken charge of: it has vLLM's
    own hasher.
    """
    with monkeypatch.context() as m:
        m.setattr(engine.core, "request_block_hasher", vllms_own(engine.core.request_block_hasher))
        return engine.start(prompt, engine.block_size + 20)


def grown_under_reuse(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a request from before grow under reuse, from less than a block. How many tokens of it the baseline
    is then served from the cache.
    """
    short = PROMPTS[0][:10]
    engine.put(Mode.ON, PATTERN)
    (answer,) = engine.finish([from_before(engine, short, monkeypatch)])
    engine.kill()
    return engine.ask([[*short, *answer.tokens]], 4)[0].cached


def test_the_baseline_is_served_nothing_of_a_request_from_before_the_takeover(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert grown_under_reuse(engine, monkeypatch) == 0


def test_a_build_that_leaves_such_a_request_its_hasher_fails(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BlockNamer, "_own", lambda *args: None)
    assert grown_under_reuse(engine, monkeypatch) > 0


def test_a_request_from_before_the_takeover_survives_its_preemption(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.put(Mode.ON, PATTERN)
    name = from_before(engine, PROMPTS[0][:10], monkeypatch)
    for _ in range(engine.block_size + 4):
        engine.step()
    engine.kill()
    assert engine.core.scheduler.reset_prefix_cache(reset_running_requests=True)
    (answer,) = engine.finish([name])
    assert len(answer.tokens) == engine.block_size + 20
    assert engine.state.supported

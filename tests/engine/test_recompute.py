"""Tests what becomes of requests in flight when reuse ends: under Recompute they go on as if it had never
been, under Continue undisturbed.

Mutants: a build that counts requests as recomputed but preempts none, and one that preempts them but lets
them read blocks that reuse made. Each is told from the true one by the tokens that follow the flip.
"""

from collections.abc import Callable
from typing import Any

import pytest
from indexcache_core.contract import Breaker, Desired, Flags, InFlight, Mode, Reason, Thresholds
from indexcache_runtime.vllm.engine_core import step_planner
from indexcache_runtime.vllm.engine_core.blocks import BlockNamer

from tests.conformance.engine import Answer, Engine, prompts
from tests.engine.cpu_binding import at_each_block_size

pytestmark = [pytest.mark.engine, at_each_block_size]

PATTERN = "FSSS"
TOKENS, LENGTHS = 40, (300, 420, 500, 350)
PROMPTS = prompts(11, *LENGTHS)


def so_far(engine: Engine, names: list[str]) -> list[int]:
    """Return how many tokens each request has generated."""
    return [engine.scheduled(name).num_output_tokens for name in names]


def flipped(
    engine: Engine, in_flight: InFlight, flip: Callable[[Engine], object]
) -> tuple[list[Answer], list[int]]:
    """Run requests that begin under reuse and, half done, see its end; return their answers, and how many
    tokens each had then.
    """
    engine.put(Mode.ON, PATTERN, in_flight=in_flight)
    names = [engine.start(p, TOKENS) for p in PROMPTS]
    while min(so_far(engine, names)) < 8:
        engine.step()
    flip(engine)
    had = so_far(engine, names)
    return engine.finish(names), had


def rest(
    engine: Engine, answers: list[Answer], had: list[int]
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Return for each request the tokens after the flip, and what a pod that never reused says after the same
    prefix.
    """
    after = [a.tokens[n:] for a, n in zip(answers, had, strict=True)]
    engine.forget()
    names = [
        engine.start([*p, *a.tokens[:n]], TOKENS - n) for p, a, n in zip(PROMPTS, answers, had, strict=True)
    ]
    return after, [a.tokens for a in engine.finish(names)]


def off(engine: Engine) -> None:
    engine.control.put(
        Desired(incarnation=engine.control.incarnation, epoch=engine.state.epoch + 1, flags=Flags())
    )


def kill(engine: Engine) -> None:
    engine.kill()


def shadow(engine: Engine) -> None:
    engine.put(Mode.SHADOW, PATTERN)


@pytest.mark.parametrize("flip", [kill, off, shadow])
def test_recomputed_requests_go_on_as_at_a_pod_that_never_reused(
    engine: Engine, flip: Callable[[Engine], object]
) -> None:
    before = engine.state
    answers, had = flipped(engine, InFlight.RECOMPUTE, flip)
    assert [len(a.tokens) for a in answers] == [TOKENS] * len(LENGTHS)
    cache = engine.state.cache
    assert cache.recomputed_requests - before.cache.recomputed_requests == len(LENGTHS)
    assert cache.resalted_requests == before.cache.resalted_requests
    # What they computed again is the baseline's, and found as such.
    again = engine.ask_each(PROMPTS, 4)
    assert all(a.cached >= engine.cacheable(p) for a, p in zip(again, PROMPTS, strict=True))
    after, expected = rest(engine, answers, had)
    assert after == expected
    engine.step()  # vLLM tells of finished requests with the next step
    now = engine.state.requests
    assert (now.running_baseline, now.running_reuse) == (0, 0)


def test_a_lapsed_permit_recomputes(engine: Engine) -> None:
    before = engine.state.cache.recomputed_requests
    engine.put(Mode.ON, PATTERN, in_flight=InFlight.RECOMPUTE, permit=0.3)
    while engine.state.mode is Mode.ON:
        answers = engine.ask(PROMPTS, TOKENS)
    assert engine.state.reason is Reason.PERMIT_LAPSED
    engine.ask(PROMPTS[:1], 1)
    assert engine.state.cache.recomputed_requests >= before
    assert [len(a.tokens) for a in answers] == [TOKENS] * len(LENGTHS)


def test_a_breaker_trips_in_a_live_engine_and_recomputes(engine: Engine) -> None:
    off(engine)
    before = engine.state
    engine.control.put(
        Desired(
            incarnation=engine.control.incarnation,
            epoch=before.epoch + 1,
            flags=Flags(mode=Mode.ON, pattern=PATTERN, sample_rows=64, in_flight=InFlight.RECOMPUTE),
            permit_seconds=600,
            thresholds=Thresholds(overlap=0.999),
            breaker=Breaker(alpha=0.01, guardrails=("overlap",)),
        )
    )
    names = [engine.start(p, 400) for p in PROMPTS]
    while engine.state.mode is Mode.ON:
        engine.step()
    state = engine.state
    assert (state.mode, state.reason) == (Mode.TRIPPED, Reason.BREAKER)
    assert "overlap of the Shared indexers at contexts of " in state.message
    reused = state.steps.reuse
    answers = engine.finish(names)
    assert engine.state.steps.reuse == reused > before.steps.reuse
    assert engine.state.cache.recomputed_requests > before.cache.recomputed_requests
    assert [len(a.tokens) for a in answers] == [400] * len(LENGTHS)


def test_continued_requests_are_not_disturbed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    preempted: list[Any] = []
    own = engine.core.scheduler._preempt_request

    def preempt(*args: Any, **kwargs: Any) -> Any:
        preempted.append(args)
        return own(*args, **kwargs)

    monkeypatch.setattr(engine.core.scheduler, "_preempt_request", preempt)
    before = engine.state.cache
    answers, had = flipped(engine, InFlight.CONTINUE, kill)
    assert [len(a.tokens) for a in answers] == [TOKENS] * len(LENGTHS)
    assert preempted == []
    cache = engine.state.cache
    assert cache.recomputed_requests == before.recomputed_requests
    assert cache.resalted_requests - before.resalted_requests == len(LENGTHS)
    after, expected = rest(engine, answers, had)
    assert after != expected  # their KV is still what reuse made


def nothing_preempted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_planner, "recompute", lambda scheduler, requests: set(requests))


def tainted_blocks_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def enter(blocks: BlockNamer, behaviour: str | None, probes: str | None = None) -> int:
        blocks.current = behaviour or blocks.current
        return 0

    monkeypatch.setattr(BlockNamer, "enter", enter)


@pytest.mark.parametrize("mutate", [nothing_preempted, tainted_blocks_are_read_again])
def test_a_build_that_does_not_recompute_fails(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, mutate: Callable[[pytest.MonkeyPatch], None]
) -> None:
    mutate(monkeypatch)
    answers, had = flipped(engine, InFlight.RECOMPUTE, kill)
    monkeypatch.undo()
    after, expected = rest(engine, answers, had)
    assert after != expected

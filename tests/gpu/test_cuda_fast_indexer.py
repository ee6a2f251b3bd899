"""Tests indexer Fast in a real engine: Full sites under reuse read what vLLM's own indexer chooses, whatever
a step holds, and an engine whose kernel is wrong stops reuse and serves on.

The model is small, so what counts as a long prefill is made small, too.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from indexcache_core.contract import Indexer, Mode, Reason
from indexcache_core.counted import LEAST_AGREEMENT
from indexcache_runtime.measuring.budget import MeasuringBudget
from indexcache_runtime.vllm.worker.cuda import fast_indexer

from tests.conformance.checks import agree, alternating, same_reads
from tests.conformance.engine import Engine, launch
from tests.conformance.measuring import every_step
from tests.gpu.cuda_binding import Cuda

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory, backend: str | None) -> Iterator[Engine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MeasuringBudget, "allows", every_step)
        patch.setattr(fast_indexer, "LEAST_ROWS", 64)
        patch.setattr(fast_indexer, "LEAST_KEYS", 600)
        yield launch(Cuda(backend=backend), tmp_path_factory.mktemp("model") / "model")


@pytest.fixture
def engine(launched: Engine) -> Engine:
    launched.reset()
    return launched


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the numbers of rows that the kernel chose for, as they come."""
    rows: list[int] = []
    choose = fast_indexer._choose

    def counted(call: dict[str, Any], group: list[Any]) -> None:
        rows.append(group[-1].token_end - group[0].token_start)
        choose(call, group)

    monkeypatch.setattr(fast_indexer, "_choose", counted)
    return rows


def under(engine: Engine, indexer: Indexer, **flags: Any) -> None:
    """Put the engine under reuse, nothing cached."""
    engine.reset()
    engine.put(Mode.ON, alternating(engine), indexer=indexer, **flags)


def test_full_sites_read_what_vllms_own_indexer_chooses(engine: Engine, groups: list[int]) -> None:
    assert engine.state.indexers == tuple(Indexer)
    longest, sites = engine.prompts[:1], len(engine.control.sites)
    under(engine, Indexer.NATIVE, sample_rows=0)
    with engine.reads() as native:
        engine.ask(longest, 2)
    assert groups == []
    under(engine, Indexer.FAST, sample_rows=0)
    with engine.reads() as fast:
        engine.ask(longest, 2)
    chunks = slice(0, 5)
    assert groups == [rows for rows in (1024, 1024, 1024, 1024, 1001) for _ in range((sites + 1) // 2)]
    same_reads(fast[chunks], native[chunks], engine.binding.strays, range(sites))


def test_whatever_a_step_holds_answers_are_those_of_vllms_own(engine: Engine, groups: list[int]) -> None:
    under(engine, Indexer.NATIVE)
    native = engine.ask(engine.prompts, 16)
    assert (engine.state.fast_indexer.rows, groups) == (0, [])
    under(engine, Indexer.FAST)
    agree(engine.ask(engine.prompts, 16), native, engine.binding.rounding)
    assert groups
    found = engine.state.fast_indexer
    assert found.rows > 0
    assert found.least_agreement is not None
    assert found.least_agreement >= LEAST_AGREEMENT
    longer = [[*prompt, *prompt[:400]] for prompt in engine.prompts[:3]]
    hit = engine.ask_each(longer, 4)
    assert all(answer.cached > 0 for answer in hit)
    under(engine, Indexer.NATIVE)
    plain = engine.ask_each(longer, 4)
    agree(hit, plain, engine.binding.rounding)


def test_blocks_of_one_indexer_are_not_the_others(engine: Engine) -> None:
    under(engine, Indexer.NATIVE)
    engine.ask(engine.prompts[:1], 1)
    engine.put(Mode.ON, alternating(engine), indexer=Indexer.FAST)
    assert engine.ask(engine.prompts[:1], 1)[0].cached == 0
    assert engine.ask(engine.prompts[:1], 1)[0].cached > 0


def test_after_it_the_baseline_is_vllms_own(engine: Engine, groups: list[int]) -> None:
    under(engine, Indexer.FAST)
    engine.ask(engine.prompts, 4)
    assert groups
    engine.kill()
    groups.clear()
    agree(engine.ask(engine.prompts, 16), engine.untouched, engine.binding.repeats)
    assert groups == []


def test_an_engine_whose_kernel_is_wrong_stops_reuse_and_serves_on(
    launched: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comes last: reuse is over in this engine."""

    def first(q: Any, k: Any, scale: Any, weights: Any, starts: Any, ends: Any, topk: int, out: Any) -> None:
        out.copy_(torch.arange(topk, device=q.device).expand(len(q), -1))

    monkeypatch.setattr(fast_indexer, "index_topk", first)
    under(launched, Indexer.FAST)
    launched.ask(launched.prompts, 4)
    state = launched.state
    assert (state.mode, state.reason, state.supported) == (Mode.TRIPPED, Reason.INTERNAL_ERROR, False)
    assert "indexer Fast" in state.message
    launched.forget()
    agree(launched.ask(launched.prompts, 16), launched.untouched, launched.binding.repeats)

"""The CUDA adapter under indexer Fast, on stand-ins: where what it chose is checked."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Indexer, Mode
from indexcache_runtime.engine import StepPlan
from indexcache_runtime.vllm.worker.cuda.adapter import CudaAdapter
from indexcache_runtime.vllm.worker.cuda.build import build
from indexcache_runtime.vllm.worker.cuda.fast_indexer import FastIndexer
from indexcache_runtime.vllm.worker.cuda.sampled_rows import checked

from tests.unit.runtime.vllm.worker.cuda.adapter_world import ROWS, model, replay, runner, step
from tests.unit.runtime.vllm.worker.cuda.standins import DeepseekV32Attention

Engine = tuple[CudaAdapter, Any, list[DeepseekV32Attention]]


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Let the fast indexer choose whatever a step holds. Returns whether it was wanted, step by step."""
    monkeypatch.setattr("indexcache_kernels.index_topk.cuda.runs", lambda device, heads, dim: True)
    monkeypatch.setattr(FastIndexer, "warm", lambda fast, indexer, device: None)
    wanted: list[bool] = []

    def use(fast: FastIndexer, now: bool) -> None:
        wanted.append(now)
        fast.used = fast.chose = now

    monkeypatch.setattr(FastIndexer, "use", use)
    return wanted


@pytest.fixture
def fast(no_device: None, used: list[bool], layers: list[DeepseekV32Attention]) -> Engine:
    r = runner()
    return build(model(layers), r), r, layers


def test_it_is_checked_at_a_full_site_in_steps_that_it_chose_in(fast: Engine, used: list[bool]) -> None:
    assert fast[0].indexers == tuple(Indexer)
    draw = next(d for d in range(1000) if checked(StepPlan(Mode.ON, "FSSF", draw=d)) == 3)
    plan = StepPlan(Mode.ON, "FSSF", 1, ROWS, draw, indexer=Indexer.FAST)
    found = step(fast, plan)
    assert found is not None
    assert found.agreement == [1.0, 1.0]  # all scores are equal, so any tokens are as good
    assert len(found.overlap) == 1
    native = step(fast, replace(plan, indexer=Indexer.NATIVE))
    assert native is not None
    assert native.agreement == []
    assert used == [True, False]


@pytest.mark.parametrize("site", [0, 2])
def test_in_a_replayed_step_it_is_checked_by_what_the_graph_kept(fast: Engine, site: int) -> None:
    draw = next(d for d in range(1000) if checked(StepPlan(Mode.ON, "FSFS", draw=d)) == site)
    plan = StepPlan(Mode.ON, "FSFS", 1, ROWS, draw, replayed=True, indexer=Indexer.FAST)
    found = replay(fast, plan)
    assert found is not None
    assert (found.agreement, len(found.overlap)) == ([1.0, 1.0], 1)
    native = replay(fast, replace(plan, indexer=Indexer.NATIVE))
    assert native is not None
    assert native.agreement == []
    assert not any("_sparse_indexer_and_attn" in vars(layer) for layer in fast[2] if not layer.skip_topk)


def test_a_site_that_nobody_follows_keeps_no_choice_and_is_not_checked(fast: Engine) -> None:
    found = replay(fast, StepPlan(Mode.ON, "FFFS", 1, ROWS, replayed=True, indexer=Indexer.FAST))
    assert found is not None
    assert found.agreement == [1.0, 1.0]  # of layer 2, whatever was drawn


def test_where_vllm_chose_in_the_graph_nothing_is_checked(
    fast: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FastIndexer, "use", lambda fast, now: setattr(fast, "used", now))
    found = replay(fast, StepPlan(Mode.ON, "FSFS", 1, ROWS, replayed=True, indexer=Indexer.FAST))
    assert found is not None
    assert found.agreement == []

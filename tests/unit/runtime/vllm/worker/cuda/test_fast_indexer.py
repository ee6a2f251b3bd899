"""Tests the fast indexer beside a stand-in for vLLM's function: which rows each of them chooses for, and that
all are chosen for as by vLLM alone. The kernel's own choice is compared in tests/unit/kernels and tests/gpu.
"""

import functools
import inspect
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from indexcache_runtime.vllm.worker.cuda import fast_indexer, indexer_call, seam
from indexcache_runtime.vllm.worker.cuda.fast_decode import FastDecode
from indexcache_runtime.vllm.worker.cuda.fast_indexer import FastIndexer, split
from indexcache_runtime.vllm.worker.failure import Failure

from tests.unit.runtime.vllm.worker.cuda.fast_world import DENSE, PREFIX, K, Request, World


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have little be enough for the kernel."""
    monkeypatch.setattr(fast_indexer, "LEAST_ROWS", 5)
    monkeypatch.setattr(fast_indexer, "LEAST_KEYS", 40)


def enter(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Let the fast indexer find this step."""
    monkeypatch.setattr(fast_indexer, "_attn_metadata", lambda: world.step)
    monkeypatch.setattr("vllm._custom_ops.cp_gather_indexer_k_quant_cache", world.gather)
    return world


def fast(world: World) -> Any:
    """Return the fast indexer, before vLLM's function."""
    failure = Failure()
    chooser = FastIndexer(failure)

    def choose(*args: Any, **kwargs: Any) -> Any:
        chosen = chooser(world.vllm, *args, **kwargs)
        failure.check()
        return chosen

    return choose


LONG, SHORT, FEW = Request(8, 50), Request(6, 20), Request(2, 60)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("prefills", "decodes", "asked", "decoded"),
    [
        ([LONG], 0, [], 0),
        ([LONG, LONG], 0, [], 0),
        ([LONG], 3, [], 1),
        ([LONG, SHORT], 0, [(8, 11), (11, 14)], 0),
        ([SHORT, LONG, FEW], 2, [(2, 5), (5, 8), (16, 18)], 1),
        ([SHORT], 1, [(1, 4), (4, 7)], 1),
        ([], 4, [], 1),
    ],
)
def test_rows_are_chosen_for_once_and_as_by_vllm_alone(
    prefills: list[Request],
    decodes: int,
    asked: list[tuple[int, int]],
    decoded: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = enter(World(prefills, decodes), monkeypatch)
    alone = world.call(world.vllm)
    world.asked, world.decoded = [], 0
    assert torch.equal(world.call(fast(world)).sort(dim=1).values, alone.sort(dim=1).values)
    assert (world.asked, world.decoded) == (asked, decoded)
    assert world.step == {PREFIX: world.metadata}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("prefills", "asked"),
    [([], []), ([LONG], []), ([LONG, SHORT], [(11, 14), (14, 17)]), ([SHORT], [(3, 6), (6, 9)])],
)
def test_rows_of_decode_are_not_vllms_where_the_kernel_takes_them(
    prefills: list[Request], asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def choose(own: FastDecode, call: dict[str, Any], metadata: Any) -> None:
        call["topk_indices_buffer"][: metadata.num_decode_tokens] = 78

    monkeypatch.setattr(FastDecode, "takes", lambda own, call, metadata: metadata.num_decodes > 0)
    monkeypatch.setattr(FastDecode, "choose", choose)
    world = enter(World(prefills, 3), monkeypatch)
    alone = world.call(world.vllm)
    world.asked, world.decoded = [], 0
    found = world.call(fast(world))
    assert found[:3].eq(78).all()
    assert torch.equal(found[3:].sort(dim=1).values, alone[3:].sort(dim=1).values)
    assert (world.asked, world.decoded) == (asked, 0)
    assert world.step == {PREFIX: world.metadata}


def test_the_workspace_is_taken_before_the_first_step_that_may_need_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(indexer_call, "choose_by", lambda chooser, wanted: None)
    failure = Failure()
    chooser = FastIndexer(failure)
    chooser.use(False)
    assert chooser.bytes == 0
    chooser._decode._keys = 64
    chooser.use(True)
    assert chooser.bytes > 0
    failure.check()

    def fails() -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(chooser._decode, "prepare", fails)
    chooser.use(False)
    chooser.use(True)
    with pytest.raises(torch.OutOfMemoryError):
        failure.check()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "more",
    [
        {"skip_k_cache_insert": False},
        {"q_scale": torch.ones(1)},
        {"dcp_world_size": 2},
        {"candidate_blocks": torch.ones(1)},
    ],
)
def test_what_it_does_not_know_is_vllms(more: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    world = enter(World([LONG]), monkeypatch)
    given = {
        "k_cache_prefix": PREFIX,
        "kv_cache": None,
        "q_quant": world.q,
        "q_scale": None,
        "weights": world.weights,
        "topk_tokens": K,
        "topk_indices_buffer": world.buffer,
    }
    fast(world)(**given | more)
    assert world.asked == [(0, 3), (3, 6), (6, 8)]


@pytest.mark.usefixtures("small")
def test_rows_shared_out_over_ranks_and_dense_steps_are_vllms(monkeypatch: pytest.MonkeyPatch) -> None:
    world = enter(World([LONG]), monkeypatch)
    assert world.metadata.prefill is not None
    world.metadata.prefill.row_shard_sizes = [4, 4]
    world.call(fast(world))
    world.metadata.prefill.row_shard_sizes = None
    world.step[DENSE] = SimpleNamespace(prefill=SimpleNamespace(use_dense_mha=True))
    world.call(fast(world))
    assert len(world.asked) == 6
    world.step[DENSE] = SimpleNamespace(prefill=None)
    world.call(fast(world))
    assert len(world.asked) == 6


def test_a_run_that_tries_memory_is_vllms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_indexer, "_attn_metadata", lambda: None)
    given = inspect.signature(World.vllm).parameters.keys() - {"self"}
    vllm = functools.wraps(World.vllm)(lambda *args, **kwargs: "vLLM's")
    assert FastIndexer(Failure())(vllm, None, **dict.fromkeys(given)) == "vLLM's"


@pytest.mark.usefixtures("small")
def test_what_fails_is_told_after_the_step_and_vllm_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    world = enter(World([LONG, LONG], 1), monkeypatch)
    alone = world.call(world.vllm)
    calls = 0

    def fails(*args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("out of memory")
        world.gather(*args)

    monkeypatch.setattr("vllm._custom_ops.cp_gather_indexer_k_quant_cache", fails)
    failure = Failure()
    chooser = FastIndexer(failure)
    assert torch.equal(world.call(lambda *args: chooser(world.vllm, *args)), alone)
    assert not chooser.chose
    with pytest.raises(RuntimeError, match="out of memory"):
        failure.check()


@pytest.mark.usefixtures("small")
def test_what_vllm_raises_is_vllms_and_its_account_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world = enter(World([LONG, SHORT]), monkeypatch)
    del world.keys[1]  # so that vLLM's function fails
    with pytest.raises(IndexError):
        world.call(fast(world))
    assert world.step == {PREFIX: world.metadata}


def test_chunks_over_the_same_keys_stay_together() -> None:
    def chunk(rows: tuple[int, int], keys: int, *, more: bool = False, requests: int = 1) -> Any:
        return SimpleNamespace(
            token_start=rows[0],
            token_end=rows[1],
            local_total_seq_lens=keys,
            num_reqs=requests,
            skip_kv_gather=more,
        )

    many, few = fast_indexer.LEAST_ROWS, fast_indexer.LEAST_ROWS - 1
    long, short = fast_indexer.LEAST_KEYS, fast_indexer.LEAST_KEYS - 1
    first, rest = chunk((0, few), long), chunk((few, many), long, more=True)
    assert split([first, rest]) == ([[first, rest]], [])
    assert split([first]) == ([], [first])
    assert split([chunk((0, many), short)])[0] == []
    two = chunk((0, many), 2 * long - 1, requests=2)
    assert split([two]) == ([], [two])
    two.local_total_seq_lens = 2 * long
    assert split([two, first, rest]) == ([[two], [first, rest]], [])
    assert split([]) == ([], [])


def test_it_stands_before_vllms_function_only_while_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(sparse_attn_indexer=lambda *args: "vLLM's")
    monkeypatch.setattr("importlib.import_module", lambda name: module)
    own, chooser = module.sparse_attn_indexer, FastIndexer(Failure())
    monkeypatch.setattr(
        FastIndexer, "__call__", lambda self, original, *args: f"instead of {original(*args)}"
    )
    chooser.use(True)
    chooser.use(True)
    assert module.sparse_attn_indexer(1) == "instead of vLLM's"
    chooser.use(False)
    assert module.sparse_attn_indexer is own
    assert indexer_call.INDEXER.original is None


def test_it_is_there_where_its_kernel_runs_and_this_vllm_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    indexer, device = SimpleNamespace(n_head=32, head_dim=128), torch.device("cpu")
    monkeypatch.setattr("indexcache_kernels.index_topk.cuda.available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert fast_indexer.available(indexer, device)
    assert not fast_indexer.available(SimpleNamespace(n_head=16, head_dim=128), device)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (10, 0))
    assert not fast_indexer.available(indexer, device)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(seam, "imported", lambda module, name: None)
    assert not fast_indexer.available(indexer, device)


def test_it_is_warmed_by_a_choice_of_its_own() -> None:
    cache = SimpleNamespace(kv_cache=torch.zeros((3, 64, 36), dtype=torch.uint8))
    indexer = SimpleNamespace(n_head=16, head_dim=32, topk_tokens=2048, max_model_len=128, k_cache=cache)
    FastIndexer(Failure()).warm(indexer, torch.device("cpu"))

"""Sets of CUDA graphs by pattern, with a stand-in for vLLM's graph manager: what is captured when, and whose
graphs are in force.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from indexcache_core.contract import Indexer
from indexcache_runtime.vllm.worker.cuda import graphs
from indexcache_runtime.vllm.worker.cuda.graphs import GraphSets
from indexcache_runtime.vllm.worker.cuda.streams import Ring
from vllm.config import CUDAGraphMode


class Desc(NamedTuple):
    """Stands in for vLLM's descriptor of a graph, in what matters here."""

    cg_mode: CUDAGraphMode
    num_tokens: int


GROUP = SimpleNamespace(
    world_size=1, device_communicator=SimpleNamespace(ca_comm=SimpleNamespace(_capture_registered=True))
)
FULL = [Desc(CUDAGraphMode.FULL, n) for n in (8, 4, 2, 1)]
PIECEWISE = [Desc(CUDAGraphMode.PIECEWISE, n) for n in (16, 8)]


class Manager:
    """Captures what it is told to, into the dictionaries it has."""

    def __init__(self) -> None:
        self._capture_descs = {CUDAGraphMode.FULL: FULL, CUDAGraphMode.PIECEWISE: PIECEWISE}
        self.graphs: dict[Desc, str] = dict.fromkeys(FULL, "baseline")
        self.breakable_cg_runner = SimpleNamespace(
            entries=dict.fromkeys(PIECEWISE, "baseline"), graph_pool="pool"
        )
        self.pool = "pool"
        self.captured: list[Desc] = []
        self.takes: Callable[[], None] = lambda: None

    def capture(self, *args: Any, **kwargs: Any) -> None:
        self.takes()
        for mode, descs in self._capture_descs.items():
            for desc in descs:
                assert self.pool == self.breakable_cg_runner.graph_pool != "pool"
                into = self.graphs if mode == CUDAGraphMode.FULL else self.breakable_cg_runner.entries
                assert desc not in into
                into[desc] = "pattern"
                self.captured.append(desc)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the bytes of device memory that are free, to be set; the device isn't there."""
    memory = [64 << 30]
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (memory[0], 80 << 30))
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    monkeypatch.setattr(
        torch.cuda,
        "memory_stats",
        lambda: dict.fromkeys(("allocated_bytes.all.peak", "allocated_bytes.all.current"), 9),
    )
    monkeypatch.setattr("vllm.distributed.parallel_state.get_tp_group", lambda: GROUP)
    monkeypatch.setattr(graphs.DISPATCH, "use", lambda user, wanted: None)
    monkeypatch.setattr(graphs, "_quietly", contextlib.nullcontext)
    return memory


@pytest.fixture
def sets(free: list[int]) -> GraphSets:
    names = (
        "model",
        "model_state",
        "input_buffers",
        "intermediate_tensors",
        "block_tables",
        "attn_groups",
        "kv_cache_config",
    )
    runner = SimpleNamespace(
        cudagraph_manager=Manager(), use_aux_hidden_state_outputs=False, **dict.fromkeys(names)
    )
    return GraphSets(runner, contextlib.nullcontext)


def dispatch(sets: GraphSets, desc: Desc) -> tuple[Desc, bool]:
    """Return what vLLM's dispatch gives for a step of this shape: the descriptor, and whether the step must
    run without graphs.
    """

    def original(manager: Any, *, need_eager: bool = False) -> tuple[Desc, bool]:
        return (Desc(CUDAGraphMode.NONE, desc.num_tokens) if need_eager else desc), need_eager

    wrapped: Callable[..., tuple[Desc, bool]] = graphs._dispatched(original)
    return wrapped(sets._manager)


def test_the_baselines_graphs_come_back_as_they_were(sets: GraphSets) -> None:
    manager = sets._manager
    before = manager.graphs, manager.breakable_cg_runner.entries
    sets.use("FS", eager=False)
    assert manager.graphs == {}
    assert manager.breakable_cg_runner.entries == {}
    dispatch(sets, FULL[0])
    sets.use(None, eager=False)
    assert (manager.graphs, manager.breakable_cg_runner.entries) == before
    assert manager.graphs is before[0]
    assert manager.pool == manager.breakable_cg_runner.graph_pool == "pool"


def test_a_step_waits_for_its_own_graph_and_each_step_captures_one_more(sets: GraphSets) -> None:
    manager = sets._manager
    sets.use("FS", eager=False)
    assert dispatch(sets, FULL[2]) == (FULL[2], False)
    assert manager.captured == [FULL[2]]
    for _ in range(6):
        sets.more()
    assert manager.captured == [FULL[2], FULL[0], FULL[1], FULL[3]]
    assert dispatch(sets, FULL[1]) == (FULL[1], False)
    assert dispatch(sets, PIECEWISE[1]) == (PIECEWISE[1], False)
    assert manager.captured[4:] == [PIECEWISE[1]]
    assert (sets.held.graphs_of, sets.held.graphs, sets.held.graphs_wanted) == ("FS", 4, 4)
    sets.use("FF", eager=False)
    assert (sets.held.graphs_of, sets.held.graphs, sets.held.graphs_wanted) == ("FF", 0, 0)


def test_graphs_of_one_indexer_are_not_replayed_by_the_other(sets: GraphSets) -> None:
    manager = sets._manager
    sets.use("FS", eager=False)
    dispatch(sets, FULL[0])
    sets.use("FS", eager=False, indexer=Indexer.FAST)
    assert (manager.graphs, sets.held.graphs) == ({}, 0)
    dispatch(sets, FULL[0])
    assert manager.captured == [FULL[0], FULL[0]]
    sets.use(None, eager=False)
    sets.use("FS", eager=False, indexer=Indexer.FAST)
    assert (sets.held.graphs, sets.held.graphs_of) == (1, "FS")
    sets.use("FS", eager=False)
    assert sets.held.graphs == 0


def test_whether_a_step_is_replayed_from_a_whole_graph_of_the_pattern(sets: GraphSets) -> None:
    kept = iter("abcdef")
    sets._keeping = lambda: contextlib.nullcontext(next(kept))
    for pattern, eager, desc, replayed in (
        ("FS", False, FULL[2], "a"),
        ("FS", False, FULL[1], "b"),
        ("FS", False, PIECEWISE[1], None),
        ("FS", True, FULL[2], None),
        (None, False, FULL[2], None),
        ("FS", False, FULL[2], "a"),
        ("FF", False, FULL[2], "c"),
    ):
        sets.use(pattern, eager=eager)
        assert sets.replayed is None
        dispatch(sets, desc)
        assert sets.replayed == replayed


def test_whole_graphs_keep_what_measuring_needs(sets: GraphSets) -> None:
    during: list[tuple[Any, bool]] = []
    keeping = [False]

    @contextlib.contextmanager
    def keep() -> Iterator[None]:
        keeping[0] = True
        yield
        keeping[0] = False

    sets._keeping = keep
    sets._manager.takes = lambda: during.append((next(iter(sets._manager._capture_descs)), keeping[0]))
    sets.use("FS", eager=False)
    dispatch(sets, FULL[0])
    dispatch(sets, PIECEWISE[0])
    assert during == [(CUDAGraphMode.FULL, True), (CUDAGraphMode.PIECEWISE, False)]


def test_back_to_the_same_pattern_captures_nothing(sets: GraphSets) -> None:
    for _ in range(3):
        sets.use("FS", eager=False)
        assert dispatch(sets, FULL[0]) == (FULL[0], False)
        sets.use(None, eager=False)
    assert sets._manager.captured == [FULL[0]]


def test_another_pattern_starts_anew(sets: GraphSets) -> None:
    sets.use("FS", eager=False)
    dispatch(sets, FULL[0])
    sets.use("FF", eager=False)
    assert sets._manager.graphs == {}
    dispatch(sets, FULL[0])
    assert sets._manager.captured == [FULL[0], FULL[0]]


def test_a_step_that_takes_time_runs_without_graphs(sets: GraphSets) -> None:
    sets.use("FS", eager=True)
    assert dispatch(sets, FULL[0]) == (Desc(CUDAGraphMode.NONE, 8), True)
    sets.use(None, eager=True)
    assert dispatch(sets, FULL[0]) == (Desc(CUDAGraphMode.NONE, 8), True)
    sets.use(None, eager=False)
    assert dispatch(sets, FULL[0]) == (FULL[0], False)
    assert sets._manager.captured == []


def test_without_memory_to_spare_a_pattern_runs_without_graphs(sets: GraphSets, free: list[int]) -> None:
    free[0] = 1 << 30
    assert sets.replays("FS")  # for all that is known
    sets.use("FS", eager=False)
    assert dispatch(sets, FULL[0]) == (Desc(CUDAGraphMode.NONE, 8), True)
    assert not sets.replays("FS")
    assert sets.replays("FS", Indexer.FAST)
    assert sets.replays("FF")
    sets.more()
    assert sets._manager.captured == []
    sets.use(None, eager=False)
    assert dispatch(sets, FULL[0]) == (FULL[0], False)


def test_what_a_patterns_graphs_hold_must_be_to_spare_too(sets: GraphSets, free: list[int]) -> None:
    sets._holds = lambda pattern: pattern.count("S") << 30
    free[0] = 4 << 30
    sets.use("FSSS", eager=False)
    assert dispatch(sets, FULL[0])[1]
    sets.use("FSFF", eager=False)
    assert not dispatch(sets, FULL[0])[1]


def test_what_the_largest_step_takes_is_not_to_spare(
    sets: GraphSets, free: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    free[0] = 3 << 30
    stats = {"allocated_bytes.all.peak": 70 << 30, "allocated_bytes.all.current": 68 << 30}
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda: stats)
    sets.use("FS", eager=False)
    assert dispatch(sets, FULL[0])[1]
    stats["allocated_bytes.all.current"] = 70 << 30
    sets.use("FF", eager=False)
    assert not dispatch(sets, FULL[0])[1]


def test_a_graph_is_what_its_capture_took_not_what_was_cached_before(
    sets: GraphSets, free: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = [5 << 30]

    def empty() -> None:
        free[0] += cached.pop() if cached else 0

    def takes() -> None:
        empty()
        free[0] -= 7

    sets._manager.takes = takes
    sets.use("FS", eager=False)
    monkeypatch.setattr(torch.cuda, "empty_cache", empty)
    dispatch(sets, FULL[0])
    sets.more()
    assert sets.held.graph_bytes == 14


def test_nobody_holds_a_replaced_patterns_graphs_when_room_is_looked_for(
    sets: GraphSets, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets.use("FS", eager=False)
    dispatch(sets, FULL[0])
    held: list[dict[Desc, str]] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: held.append(sets._manager.graphs))
    sets.use("FF", eager=False)
    assert held == [{}]


def test_ranks_sum_up_in_a_buffer_that_is_registered_already(sets: GraphSets) -> None:
    reducer, during = GROUP.device_communicator.ca_comm, []
    sets._manager.takes = lambda: during.append(reducer._capture_registered)
    sets.use("FS", eager=False)
    dispatch(sets, FULL[0])
    assert during == [False]
    assert reducer._capture_registered


def test_no_graph_is_captured_on_a_stream_that_the_pattern_uses(sets: GraphSets) -> None:
    pool = itertools.cycle(range(6))
    sets._ring = Ring(lambda: next(pool))
    sets._streams = lambda pattern: [4, *range(pattern.count("F"))]
    captured_on: list[int] = []
    sets._manager.takes = lambda: captured_on.append(next(pool))
    for pattern in ("FS", "FF", "FFFS") * 2:
        sets.use(pattern, eager=False)
        dispatch(sets, FULL[0])
        sets.more()
        assert captured_on
        assert not {*captured_on} & {4, *range(pattern.count("F"))}
        captured_on.clear()


def test_an_engine_without_graphs(free: list[int]) -> None:
    sets = GraphSets(SimpleNamespace(cudagraph_manager=None), contextlib.nullcontext)
    assert sets.graphed_tokens == 0
    assert not sets.replays("FS")
    sets.use("FS", eager=True)
    sets.more()
    sets.use(None, eager=False)
    assert sets.held.graphs_wanted == 0


def test_how_long_steps_are_replayed(sets: GraphSets) -> None:
    assert sets.graphed_tokens == 16
    assert sets.replayed_tokens == 8

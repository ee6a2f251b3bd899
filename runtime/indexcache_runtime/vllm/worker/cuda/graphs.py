"""CUDA graphs by pattern: the baseline's, which vLLM captured at its start, and those of the pattern in
force, or, in shadow, of all Full with what measuring needs kept.

A graph replays what the sites did when it was captured, so each pattern has its own, for each indexer that
may choose at its Full sites, and a switch is the exchange of two dictionaries. A new pattern's graphs are
captured as they are needed: the one that a step would replay right before it, and one more at every step,
largest first; so a step waits for a graph or two, never for all of them. Each is captured by vLLM's own
manager, for dummy rows that write nothing. A pattern's graphs have a memory pool of their own, which goes
with them when the pattern is replaced.

Traps. While a graph is captured no other thread may call CUDA; the threads that wait for steps' outputs are
kept out by `lock`. All ranks must capture the same graphs at the same step: what decides is counted, not
timed, and memory is asked of all ranks at once.
"""

import contextlib
import gc
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from indexcache_core.contract import Indexer
from indexcache_core.pattern import SHARED

from indexcache_runtime.vllm.worker.cuda.streams import Ring
from indexcache_runtime.vllm.worker.failure import Failure
from indexcache_runtime.vllm.worker.hooks import Hook

logger = logging.getLogger(__name__)

SPARE_BYTES = 2 << 30
"""Device memory to spare without which a new pattern's graphs are not captured: steps under it then run
without graphs."""

_sets: dict[int, "GraphSets"] = {}
"""By the id of vLLM's graph manager."""


def _dispatched(original: Callable[..., Any]) -> Callable[..., Any]:
    def dispatch(manager: Any, *args: Any, **kwargs: Any) -> Any:
        sets = _sets.get(id(manager))
        if sets is None:
            return original(manager, *args, **kwargs)
        kwargs["need_eager"] = kwargs.get("need_eager", False) or sets.eager
        found = original(manager, *args, **kwargs)
        if sets.pattern is not None and not sets.captured(found[0]):
            kwargs["need_eager"] = True
            with sets.failure.kept():
                kwargs["need_eager"] = not sets.capture(found[0])
            found = original(manager, *args, **kwargs)
        sets.replayed = sets.kept(found[0]) if sets.pattern is not None else None
        return found

    return dispatch


DISPATCH = Hook("vllm.v1.worker.gpu.model_runner", "dispatch_cg_and_sync_dp", _dispatched)


class HeldGraphs(NamedTuple):
    """Holds these fields of contract.DeviceUse. No model, for it is compared at every step."""

    graph_bytes: int
    graphs_of: str
    graphs: int
    graphs_wanted: int


class Under(NamedTuple):
    """Says under what graphs are captured: what sites do, and what chooses at the Full ones."""

    pattern: str
    indexer: Indexer = Indexer.NATIVE


class GraphSets:
    """Keeps one worker's graphs: the baseline's, and a pattern's."""

    def __init__(
        self,
        runner: Any,
        keeping: Callable[[], contextlib.AbstractContextManager[Any]],
        holds: Callable[[str], int] = lambda _: 0,
        streams: Callable[[str], Sequence[int]] = lambda _: (),
    ) -> None:
        """Take the baseline's graphs from the runner. keeping: what is captured meanwhile keeps what
        measuring needs, where it says. holds: bytes of what a pattern's graphs keep. streams: ids of those to
        which a model under a pattern forks work, the one with most work first."""
        from vllm.config import CUDAGraphMode

        self._runner, self._modes, self._keeping, self._holds, self._streams = (
            runner,
            CUDAGraphMode,
            keeping,
            holds,
            streams,
        )
        self._manager, self._ring = runner.cudagraph_manager, Ring()
        self.lock = threading.Lock()
        """Held while a graph is captured, and by whoever waits for a step's output."""
        self.pattern: str | None = None
        """Whose graphs are in force; None: the baseline's."""
        self.eager = False
        """The next step runs without graphs."""
        self.replayed: Any = None
        """What the whole graph of the pattern in force keeps that the step is replayed from; None: it
        isn't."""
        self._indexer = Indexer.NATIVE
        self._kept: Under | None = None
        self._graphs: dict[Any, Any] = {}
        self._entries: dict[Any, Any] = {}
        self._captured: dict[Any, Any] = {}
        """What each graph keeps, by its descriptor."""
        self.failure = Failure()
        """Of a capture in the middle of a step, which goes on without graphs."""
        self._uncaptured: list[Any] = []
        self._refused = False
        self._bytes = 0
        self._pool: Any = None
        breakable = self._manager.breakable_cg_runner if self._manager else None
        self._baseline = (
            (self._manager.graphs, breakable.entries if breakable else {}) if self._manager else ({}, {})
        )
        self._wanted = list(self._manager._capture_descs.get(CUDAGraphMode.FULL, [])) if self._manager else []
        if self._manager is not None:
            _sets[id(self._manager)] = self

    @property
    def graphed_tokens(self) -> int:
        """Return the number of tokens above which steps run without graphs."""
        if self._manager is None:
            return 0
        return max(
            (d.num_tokens for descs in self._manager._capture_descs.values() for d in descs), default=0
        )

    @property
    def replayed_tokens(self) -> int:
        """Return the number of tokens up to which steps of decode are replayed from one whole graph."""
        return max((d.num_tokens for d in self._wanted), default=0)

    @property
    def held(self) -> HeldGraphs:
        """Return what the pattern's graphs hold."""
        return HeldGraphs(
            self._bytes,
            self._kept.pattern if self._kept else "",
            len(self._graphs),
            len(self._wanted) if SHARED in (self.pattern or "") else 0,
        )

    def use(self, pattern: str | None, *, eager: bool, indexer: Indexer = Indexer.NATIVE) -> None:
        """Have graphs of this pattern replayed in the next step, by this indexer; None: all Full."""
        self.eager, self.replayed = eager, None
        DISPATCH.use(self, pattern is not None or eager)
        if (pattern, indexer) == (self.pattern, self._indexer) or self._manager is None:
            self.pattern = pattern
            return
        self.pattern, self._indexer = pattern, indexer
        if pattern is None:
            self._put(*self._baseline)
        elif Under(pattern, indexer) == self._kept:
            self._put(self._graphs, self._entries)
        else:
            self._replace(Under(pattern, indexer))

    def _put(self, graphs: dict[Any, Any], entries: dict[Any, Any]) -> None:
        self._manager.graphs = graphs
        if self._manager.breakable_cg_runner is not None:
            self._manager.breakable_cg_runner.entries = entries

    def _replace(self, under: Under) -> None:
        """Forget the graphs of the pattern before."""
        import torch

        torch.cuda.synchronize()  # a replay of them may be under way still
        self._graphs, self._entries, self._captured, self._bytes = {}, {}, {}, 0
        self._put(self._graphs, self._entries)  # nobody holds the old ones from here on
        self._uncaptured = self._wanted.copy()
        self._kept, self._pool = under, torch.cuda.graph_pool_handle()
        gc.collect()
        torch.cuda.empty_cache()  # gives a pool without graphs back
        self._refused = not self._room(SPARE_BYTES + self._holds(under.pattern))

    def replays(self, pattern: str, indexer: Indexer = Indexer.NATIVE) -> bool:
        """Return whether there are whole graphs to replay under a pattern, or room to capture them for all
        that is known."""
        return bool(self._wanted) and not (self._refused and Under(pattern, indexer) == self._kept)

    def kept(self, desc: Any) -> Any:
        """Return what a whole graph of the pattern in force keeps; None: there is none, or it keeps
        nothing."""
        return self._captured.get(desc)

    def captured(self, desc: Any) -> bool:
        """Return whether a step of this shape can run as it is under the pattern in force."""
        return desc.cg_mode == self._modes.NONE or desc in self._captured

    def more(self) -> None:
        """Capture one more graph of the pattern in force, if any is left."""
        if self.pattern is None or self._refused:
            return
        while self._uncaptured:
            if (desc := self._uncaptured.pop(0)) not in self._captured:
                self.capture(desc)
                return

    def capture(self, desc: Any) -> bool:
        """Capture a graph of the pattern in force. The sites are as the pattern says. False: there is no room
        for it."""
        import torch

        assert self.pattern is not None
        if self._refused:
            return False
        runner, manager, breakable = self._runner, self._manager, self._manager.breakable_cg_runner
        wanted, pool = manager._capture_descs, manager.pool
        keeping = self._keeping() if desc.cg_mode == self._modes.FULL else contextlib.nullcontext()
        with self.lock, _quietly(), _unregistered(), keeping as kept:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()  # a capture does so too, and what that gives back is not the graph's
            before = torch.cuda.mem_get_info()[0]
            manager._capture_descs, manager.pool = {desc.cg_mode: [desc]}, self._pool
            if breakable is not None:
                breakable.graph_pool = self._pool
            self._ring.turn(self._streams(self.pattern))
            try:
                manager.capture(
                    runner.model,
                    runner.model_state,
                    runner.input_buffers,
                    runner.intermediate_tensors,
                    runner.block_tables,
                    runner.attn_groups,
                    runner.kv_cache_config,
                    has_lora=False,
                    use_aux_hidden_state_outputs=runner.use_aux_hidden_state_outputs,
                    lora_capture_hook=None,
                )
            finally:
                manager._capture_descs, manager.pool = wanted, pool
                if breakable is not None:
                    breakable.graph_pool = pool
            torch.cuda.synchronize()
            self._bytes += before - torch.cuda.mem_get_info()[0]
        self._captured[desc] = kept
        return True

    def _room(self, needed: int) -> bool:
        """Return whether every rank has so many bytes to spare."""
        import torch
        from vllm.distributed.parallel_state import get_tp_group

        memory = (
            torch.cuda.memory_stats()
        )  # what the largest step takes and this one doesn't is free now, and not to spare
        own = memory["allocated_bytes.all.peak"] - memory["allocated_bytes.all.current"]
        free = torch.tensor([torch.cuda.mem_get_info()[0] - own], dtype=torch.int64)
        if (group := get_tp_group()).world_size > 1:
            torch.distributed.all_reduce(free, op=torch.distributed.ReduceOp.MIN, group=group.cpu_group)
        if free.item() < needed:
            logger.warning(
                "indexcache: %.1f GiB of device memory to spare, %.1f needed for a pattern's CUDA graphs: "
                "steps under it run without; lower --gpu-memory-utilization",
                free.item() / 2**30,
                needed / 2**30,
            )
            return False
        return True


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Do without a progress bar for each graph, and without collecting garbage meanwhile: a kernel finalised
    then would spoil the graph."""
    from vllm.v1.worker.gpu import cudagraph_utils

    bar, collecting = cudagraph_utils.tqdm, gc.isenabled()
    cudagraph_utils.tqdm = lambda descs, **_: descs
    gc.disable()
    try:
        yield
    finally:
        cudagraph_utils.tqdm = bar
        if collecting:
            gc.enable()


@contextlib.contextmanager
def _unregistered() -> Iterator[None]:
    """Have graphs captured meanwhile copy what ranks sum up into a buffer that vLLM's all-reduce has
    registered, as vLLM has it for memory that moves: it would register their own buffers otherwise, of which
    it has room for so many in an engine's life, and never lets go of one."""
    from vllm.distributed.parallel_state import get_tp_group

    reducer = getattr(get_tp_group().device_communicator, "ca_comm", None)
    if reducer is None:
        yield
        return
    own = reducer._capture_registered
    reducer._capture_registered = False
    try:
        yield
    finally:
        reducer._capture_registered = own

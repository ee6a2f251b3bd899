"""DeepSeek-V3.2 and GLM-5 on CUDA (vllm.models.deepseek_v32), under vLLM's second model runner: the adapter.

At the baseline no attribute of the model and no function of vLLM is changed.

Steps that take time run without CUDA graphs, and so do measured ones that none would replay, or that run all
Full in mode on, where the graphs that there is room for are the pattern's: they need Python between the
kernels. For a prefill that is how it runs anyway. Of a step that graphs replay, they keep what
measuring needs: under reuse batched_keys.py, in shadow taps.py.
"""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from indexcache_core.contract import DeviceUse, Indexer, Mode, Site
from indexcache_core.pattern import FULL, SHARED, leaders

from indexcache_runtime.engine import Measured, Pending, StepPlan
from indexcache_runtime.vllm.worker.cuda import fast_indexer, scores_buffer
from indexcache_runtime.vllm.worker.cuda.batched_keys import BatchedKeys, KeptByGraph
from indexcache_runtime.vllm.worker.cuda.fast_indexer import FastIndexer
from indexcache_runtime.vllm.worker.cuda.graphs import GraphSets, HeldGraphs
from indexcache_runtime.vllm.worker.cuda.sampled_rows import SampledRows, checked, drawn
from indexcache_runtime.vllm.worker.cuda.shared_layer import KeyStream
from indexcache_runtime.vllm.worker.cuda.site import CudaSite, Watch
from indexcache_runtime.vllm.worker.cuda.timing import Timer

logger = logging.getLogger(__name__)


class CudaAdapter:
    """Implements engine.Adapter."""

    timed = True

    def __init__(self, found: list[tuple[int, Any]], runner: Any) -> None:
        first = found[0][1]
        buffer: torch.Tensor = first.topk_indices_buffer
        key_stream = KeyStream.of(first)
        k = first.indexer.topk_tokens
        self._rows, self._timer = SampledRows(buffer.device, k), Timer()
        self._graphs = GraphSets(
            runner, self._keeping, lambda pattern: self._batched_keys.holds(pattern), self._streams
        )
        self._batched_keys = BatchedKeys([layer for _, layer in found], self._graphs.replayed_tokens)
        self._fast = FastIndexer(self._rows.failure)
        self._sites = [
            CudaSite(
                layer,
                Site(index=i, layer=number, domain="tokens", k=k),
                self._rows,
                self._timer,
                key_stream,
                self._batched_keys,
                self._fast,
            )
            for i, (number, layer) in enumerate(found)
        ]
        self._fixed_bytes = key_stream.bytes
        self._all_full = self._pattern = FULL * len(found)
        self._tapped = False
        self._watching: list[CudaSite] = []
        self._plan: StepPlan | None = None
        self._told: tuple[HeldGraphs, int] | None = None
        self._sites[0].warm()
        self._batched_keys.warm()
        self.indexers: tuple[Indexer, ...] = (Indexer.NATIVE,)
        if fast_indexer.available(first.indexer, buffer.device):
            self._fast.warm(first.indexer, buffer.device)
            self.indexers = tuple(Indexer)
        _advise(first.indexer.max_model_len)
        self._runner, self._prepare = runner, runner.prepare_inputs
        runner.prepare_inputs = self._prepared

    @property
    def sites(self) -> tuple[Site, ...]:
        """Return the sites in execution order."""
        return tuple(s.site for s in self._sites)

    @property
    def graphed_tokens(self) -> int:
        """See engine.Capabilities."""
        return self._graphs.graphed_tokens

    @property
    def replayed_tokens(self) -> int:
        """See engine.Capabilities."""
        return self._graphs.replayed_tokens

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """See engine.Adapter, and graphs.py for the reason."""
        return self._graphs.lock

    def begin(self, plan: StepPlan | None) -> None:
        """See engine.Adapter."""
        for site in self._watching:
            site.watch(Watch.NOTHING)
        self._watching, self._plan = [], plan
        self._rows.begin(plan.rows if plan else ())
        self._fast.use(plan is not None and plan.indexer is Indexer.FAST)
        if plan is None:
            self._tapped = False
            self._follow(self._all_full)
            self._graphs.use(None, eager=False)
            return
        reused = plan.pattern if plan.mode is Mode.ON else None
        followed = reused or self._all_full
        self._tapped = bool(plan.rows) and plan.replayed and self._graphs.replays(followed, plan.indexer)
        self._follow(followed)
        if plan.apart:
            self._graphs.use(None, eager=True)
            return
        self._graphs.use(
            followed if self._tapped else reused,
            eager=plan.timed or bool(plan.rows and not self._tapped),
            indexer=plan.indexer,
        )
        if reused:
            self._graphs.more()
        if self._tapped and not reused:
            self._watch_all(Watch.TAP)
        elif plan.rows and not self._tapped:
            self._measure(plan)
        elif plan.timed:
            self._timer.begin()
            self._watch_all(Watch.TIME)

    def ran(self) -> None:
        """See engine.Adapter."""
        if self._tapped and self._graphs.replayed is not None:
            self._rows.metadata, self._rows.kept_by_graph = (
                self._runner.execute_model_state.attn_metadata,
                self._graphs.replayed,
            )

    def take(self) -> Pending | None:
        """See engine.Adapter."""
        self._graphs.failure.check()
        if self._rows.metadata is not None and self._plan is not None:
            leading = leaders(self._plan.pattern)
            with torch.inference_mode():
                for i in drawn(self._plan):
                    self._sites[i].measure(leading[i])
                kept = self._rows.kept_by_graph
                if kept is not None and (asked := kept.asked.keys() & kept.chosen.keys()):
                    self._sites[checked(self._plan, asked)].check()
            self._rows.metadata = self._rows.kept_by_graph = None
        pending = [p for p in (self._rows.take(), self._timer.take()) if p is not None]
        device = self._changed()
        if not pending and device is None:
            return None

        def read() -> Measured:
            found = [p() for p in pending]
            return Measured(
                overlap={site: values for m in found for site, values in m.overlap.items()},
                recall={site: values for m in found for site, values in m.recall.items()},
                agreement=[share for m in found for share in m.agreement],
                seconds=sum(m.seconds for m in found),
                parts=next((m.parts for m in found if m.parts is not None), None),
                device=device,
            )

        return read

    def restore(self) -> None:
        """See engine.Adapter."""
        self._runner.prepare_inputs = self._prepare
        for site in self._sites:
            site.restore()
        self._timer.stop()
        self._fast.use(False)
        self._graphs.use(None, eager=False)

    @contextmanager
    def _keeping(self) -> Iterator[KeptByGraph]:
        """Let a whole graph be captured meanwhile."""
        if SHARED in self._pattern:
            with self._batched_keys.capturing(self._pattern) as kept, self._keeping_asked():
                yield kept
        else:
            with self._rows.taps.capturing():
                yield KeptByGraph()

    @contextmanager
    def _keeping_asked(self) -> Iterator[None]:
        """Let a graph that is captured meanwhile keep what the fast indexer is asked."""
        full = [site for site, letter in zip(self._sites, self._pattern, strict=True) if letter == FULL]
        asked = full if self._fast.used else []
        for site in asked:
            site.watch(Watch.ASKED)
        try:
            yield
        finally:
            for site in asked:
                site.watch(Watch.NOTHING)

    def _streams(self, pattern: str) -> list[int]:
        """Return the ids of the streams on which vLLM runs something beside the rest: a layer's shared
        expert, and what leaders' choices become in the cache."""
        from vllm.utils.torch_utils import aux_stream

        leading = [
            site.side_stream for site, letter in zip(self._sites, pattern, strict=True) if letter == FULL
        ]
        beside = aux_stream()
        return [stream.stream_id for stream in (*([] if beside is None else [beside]), *leading)]

    def _changed(self) -> DeviceUse | None:
        scratch = self._rows.scratch_bytes + self._batched_keys.bytes + self._fast.bytes
        held = self._graphs.held, self._fixed_bytes + scratch
        if held == self._told:
            return None
        self._told = held
        graphs, scratch = held
        return DeviceUse(**graphs._asdict(), scratch_bytes=scratch)

    def _follow(self, pattern: str) -> None:
        if pattern == self._pattern:
            return
        self._pattern = pattern
        leading = leaders(pattern)
        for i, (site, letter, leader) in enumerate(zip(self._sites, pattern, leading, strict=True)):
            if letter == FULL:
                site.follow(None)
                site.leads(leading.count(i))
            else:
                site.follow(self._sites[leader], i - leader)

    def _measure(self, plan: StepPlan) -> None:
        """Watch the sites that were drawn; in shadow their leaders keep their rows."""
        sites = drawn(plan)
        leading = leaders(plan.pattern)
        for i in sites:
            self._sites[i].watch(Watch.COMPARE, compare_with=leading[i])
        kept = {leading[i] for i in sites} if plan.mode is Mode.SHADOW else set[int]()
        for i in kept:
            self._sites[i].watch(Watch.KEEP)
        full = [] if plan.indexer is Indexer.NATIVE else [checked(plan)]
        for i in full:
            self._sites[i].watch(Watch.CHECK)
        self._watching = [self._sites[i] for i in (*sites, *kept, *full)]

    def _watch_all(self, what: Watch) -> None:
        for site in self._sites:
            site.watch(what)
        self._watching = list(self._sites)

    def _prepared(self, *args: Any, **kwargs: Any) -> Any:
        """Stand in for the runner's prepare_inputs: the batch's order is known."""
        batch = self._prepare(*args, **kwargs)
        self._rows.prepared(
            batch, tapped=self._tapped and self._plan is not None and self._plan.mode is Mode.SHADOW
        )
        if self._plan is not None and self._plan.timed:
            self._timer.mark("step")
        return batch


def _advise(max_model_len: int) -> None:
    from vllm import envs

    if said := scores_buffer.advice(max_model_len, int(getattr(envs, scores_buffer.VARIABLE))):
        logger.info("indexcache: %s", said)

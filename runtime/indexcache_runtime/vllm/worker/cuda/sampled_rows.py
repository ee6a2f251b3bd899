"""Measures a step's sampled rows on the device, without waiting for it.

A row's index scores over its whole context come from the kernel that scores decode rows (DeepGEMM's paged
logits, which needs no copy of the keys); where the indexer didn't run, its choice comes from the decode's
top-k too. Rows of prefills are scored like that as well: each is one query over the keys up to its position.
All sites of a step share one table of blocks and one schedule.

Not each step measures all sites: some are drawn, so that a step's share of work stays small whatever the
number of layers. Drawn and not in turn, as steps may come in a rhythm of their own: of a prefill in four
chunks, turns of four would always measure the same quarter.
"""

import functools
import random
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from indexcache_core.pattern import FULL, SHARED
from indexcache_kernels.reuse_overlap import reuse_overlap

from indexcache_runtime.engine import Measured, Pending, Row, StepPlan
from indexcache_runtime.vllm.worker.cuda.batched_keys import KeptByGraph
from indexcache_runtime.vllm.worker.cuda.taps import Taps
from indexcache_runtime.vllm.worker.cuda.timing import Events
from indexcache_runtime.vllm.worker.failure import Failure

WARMED = (1, 32)
"""Numbers of rows: kernels are built for up to 32 at once."""

DRAWN = 4
"""Of the Shared sites one in so many is measured in a step: a quarter takes well under a hundredth of a
prefill step."""


def checked(plan: StepPlan, among: Collection[int] | None = None) -> int:
    """Return the index of the Full site where a step checks the fast indexer: the same on every rank.

    among: where it can be checked; None: everywhere.
    """
    full = [i for i, letter in enumerate(plan.pattern) if letter == FULL and (among is None or i in among)]
    return random.Random(plan.draw).choice(full)


def drawn(plan: StepPlan) -> list[int]:
    """Return the indexes of the sites that a step measures: the same on every rank."""
    shared = [i for i, letter in enumerate(plan.pattern) if letter == SHARED]
    return sorted(random.Random(plan.draw).sample(shared, -(-len(shared) // DRAWN)))


class SampledRows:
    """Measures one step's sampled rows, in one worker. `batch`: the step's vLLM InputBatch, known once its
    inputs are prepared."""

    def __init__(self, device: torch.device, k: int) -> None:
        self._device, self._k = device, k
        self._rows: tuple[Row, ...] = ()
        self._batch: Any = None
        self.taps = Taps(device)
        self.kept_by_graph: KeptByGraph | None = None
        """What the replayed step's graph left behind."""
        self.metadata: Any = None
        """The step's attention metadata by layer, where it isn't the forward's own to tell: after a
        replay."""
        self._requests: torch.Tensor | None = None
        self._contexts: torch.Tensor | None = None
        self._schedule: Any = None
        self._table: tuple[int, torch.Tensor] | None = None
        self.index: torch.Tensor | None = None
        """(rows,) int64: their places in the step's batch."""
        self.positions: torch.Tensor | None = None
        """(rows,) int64: their positions in their requests."""
        self.kept: dict[int, torch.Tensor] = {}
        self._measured: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._checked: torch.Tensor | None = None
        self._events = Events()
        self._marks: list[Any] = []
        self._host = 0.0
        self._scratch_bytes = 0
        self.failure = Failure()

    @property
    def scratch_bytes(self) -> int:
        """Return what graphs keep, and the most that a step took."""
        return self._scratch_bytes + self.taps.bytes

    def warm(self, indexer: Any) -> None:
        """Have the kernels compiled and loaded, for one row and for some tens: at its first use each of them
        takes a tenth of a second, for which requests would wait, and which would be taken for the price of
        measuring."""
        zeros = functools.partial(torch.zeros, device=self._device)
        for rows in WARMED:
            contexts = torch.ones((rows, 1), dtype=torch.int32, device=self._device)
            table = zeros(
                (rows, -(-indexer.max_model_len // indexer.k_cache.kv_cache.shape[1])), dtype=torch.int32
            )
            q = zeros((rows, indexer.n_head, indexer.head_dim), dtype=torch.float8_e4m3fn)
            logits = score(
                indexer, q, zeros((rows, indexer.n_head)), contexts, table, schedule(indexer, contexts)
            )
            fresh = self._choose(indexer, logits, contexts, 1)
            for x in (
                fresh,
                logits,
                q.view(torch.uint8),
                table.to(torch.bfloat16),
            ):  # PyTorch loads its kernels at first use, too
                x.index_select(0, table[:, 0])
            reuse_overlap(fresh, fresh.clone(), logits.gather(1, fresh.long().clamp_(min=0)))

    def begin(self, rows: tuple[Row, ...]) -> None:
        """Forget the step before."""
        self._rows, self._batch, self.metadata, self.kept_by_graph = rows, None, None, None
        self.index = self.positions = self._requests = self._contexts = self._schedule = self._table = None
        self.taps.reset()
        self.kept.clear()
        self._measured.clear()
        self._checked = None
        self._marks, self._host = [], 0.0

    def prepared(self, batch: Any, *, tapped: bool) -> None:
        """Send the rows to the device, now that the step's inputs are prepared. `tapped`: a graph shall keep
        them."""
        if not self._rows:
            return
        began = time.perf_counter()
        request = {name: i for i, name in enumerate(batch.req_ids)}
        requests = [request[row.request] for row in self._rows]
        starts = batch.query_start_loc_np
        index = [int(starts[r]) + row.offset for r, row in zip(requests, self._rows, strict=True)]
        host = torch.tensor(
            [index, requests, [row.position for row in self._rows]], dtype=torch.int64
        ).pin_memory()
        self.index, self._requests, self.positions = host.to(self._device, non_blocking=True)
        self._contexts = (self.positions + 1).to(torch.int32).unsqueeze(1)
        if tapped:
            self.taps.at(self.index)
        self._host = time.perf_counter() - began

    @contextmanager
    def priced(self) -> Iterator[None]:
        """Count what the device does meanwhile as the price of measuring."""
        self._marks.append(self._events.mark())
        yield
        self._marks.append(self._events.mark())

    def keep(self, site: int, buffer: torch.Tensor) -> None:
        """Keep what a Full site chose for the sampled rows, for those that would follow it."""
        assert self.index is not None
        self.kept[site] = buffer.index_select(0, self.index)

    def compare(
        self,
        site: int,
        indexer: Any,
        reused: torch.Tensor,
        fresh: torch.Tensor | None,
        q: torch.Tensor,
        w: torch.Tensor,
    ) -> None:
        """Measure a site. reused, fresh: (rows, k) int32; fresh None: what the indexer would choose. Its
        inputs for the sampled rows: q (rows, heads, dim) fp8, w (rows, heads) float32."""
        logits = self._logits(indexer, q, w)
        if fresh is None:
            fresh = self._choose(indexer, logits, self._contexts, max(row.position + 1 for row in self._rows))
        overlap, recall = reuse_overlap(reused, fresh, logits.gather(1, fresh.long().clamp_(min=0)))
        assert recall is not None  # scores were given
        self._measured[site] = overlap, recall
        bytes_now = logits.numel() * 4 + (3 + len(self.kept)) * fresh.numel() * 4 + fresh.numel() * 8
        self._scratch_bytes = max(self._scratch_bytes, bytes_now)

    def check(self, indexer: Any, chosen: torch.Tensor, q: torch.Tensor, w: torch.Tensor) -> None:
        """Measure how far a choice, (rows, k) int32, agrees with vLLM's. The indexer's inputs for the sampled
        rows: q (rows, heads, dim) fp8, w (rows, heads) float32."""
        logits = self._logits(indexer, q, w)
        fresh = self._choose(indexer, logits, self._contexts, max(row.position + 1 for row in self._rows))
        self._checked = agreement(chosen, fresh, logits)

    def _choose(self, indexer: Any, logits: torch.Tensor, contexts: Any, longest: int) -> torch.Tensor:
        """Return what the indexer chooses by these scores: (rows, k) int32."""
        from vllm.model_executor.layers.indexer_topk import get_indexer_topk

        fresh = torch.full((logits.shape[0], self._k), -1, dtype=torch.int32, device=self._device)
        get_indexer_topk(indexer.indexer_op.topk_backend)(logits, contexts, 1, fresh, self._k, longest)
        return fresh

    def _logits(self, indexer: Any, q: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """Return index scores of the step's rows."""
        metadata = (self.metadata or _forward_metadata())[indexer.k_cache.prefix]
        assert self._requests is not None
        assert self._contexts is not None
        if self._table is None or self._table[0] != metadata.block_table.data_ptr():
            self._table = (
                metadata.block_table.data_ptr(),
                metadata.block_table.index_select(0, self._requests),
            )
        if self._schedule is None:
            self._schedule = schedule(indexer, self._contexts)
        return score(indexer, q, w, self._contexts, self._table[1], self._schedule)

    def take(self) -> Pending | None:
        """Send home what was measured; to be read once the step's output was awaited. Raises what failed."""
        self.failure.check()
        if not self._measured and self._checked is None:
            return None
        sites, checked = list(self._measured), [] if self._checked is None else [self._checked]
        stacked = torch.stack([*(x for site in sites for x in self._measured[site]), *checked])  # [.., rows]
        home = torch.empty(stacked.shape, dtype=stacked.dtype, pin_memory=True)
        home.copy_(stacked, non_blocking=True)
        done: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record()
        self._measured.clear()
        self._checked = None
        marks, self._marks, host = self._marks, [], self._host

        def read() -> Measured:
            done.synchronize()
            began = time.perf_counter()
            values = home.tolist()
            overlap = {site: values[2 * i] for i, site in enumerate(sites)}
            recall = {site: values[2 * i + 1] for i, site in enumerate(sites)}
            device = self._events.seconds(marks)
            agreed = values[-1] if checked else []
            return Measured(overlap, recall, agreed, device + host + time.perf_counter() - began)

        return read


def agreement(chosen: torch.Tensor, fresh: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Return, for each row, the share of its chosen tokens that score as high as the last of the fresh ones,
    but for what rounding may do; one that is there twice counts once. (rows,) float32. A row whose fresh
    tokens have scores that aren't numbers says nothing: 1.

    chosen, fresh: (rows, k) int32, -1 where there is none; scores: (rows, tokens) float32.
    """
    there, ordered = fresh >= 0, chosen.sort(dim=1).values
    best = scores.gather(1, fresh.long().clamp_(min=0))
    last = best.masked_fill(~there, float("inf")).amin(1, keepdim=True)
    last = last - ROUNDING * best.masked_fill(~there, 0.0).abs().amax(1, keepdim=True)
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    good = new & (ordered >= 0) & (scores.gather(1, ordered.long().clamp_(min=0)) >= last)
    shares = good.sum(1) / there.sum(1).clamp_(min=1)
    return shares.masked_fill(last.squeeze(1).isnan(), 1.0)


ROUNDING = 1e-5
"""Of a row's largest score: sums in another order differ by less."""


def schedule(indexer: Any, contexts: torch.Tensor) -> Any:
    """Return how the scoring kernel shares out the work over multiprocessors: one for all sites. contexts:
    (rows, 1) int32, tokens."""
    from vllm.utils import deep_gemm

    sms = torch.cuda.get_device_properties(contexts.device).multi_processor_count
    return deep_gemm.get_paged_mqa_logits_metadata(contexts, indexer.k_cache.kv_cache.shape[1], sms)


def score(
    indexer: Any,
    q: torch.Tensor,
    w: torch.Tensor,
    contexts: torch.Tensor,
    table: torch.Tensor,
    scheduled: Any,
) -> torch.Tensor:
    """Return index scores (rows, longest possible context) float32; what stands past a row's context is
    anything. q: (rows, heads, dim) fp8, w: (rows, heads) float32, contexts: (rows, 1) int32, table: (rows,
    blocks) int32."""
    from vllm.utils import deep_gemm

    cache = indexer.k_cache.kv_cache.unsqueeze(-2)  # [blocks, block, 1, bytes]
    logits: torch.Tensor = deep_gemm.fp8_fp4_paged_mqa_logits(
        (q.unsqueeze(1), None), cache, w, contexts, table, scheduled, max_model_len=indexer.max_model_len
    )
    return logits


def _forward_metadata() -> Any:
    from vllm.forward_context import get_forward_context

    return get_forward_context().attn_metadata

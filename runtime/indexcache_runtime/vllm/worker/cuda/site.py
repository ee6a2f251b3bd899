"""Switches one indexer of a CUDA model: what it does in a step is attributes of the layer's instance, set
between steps, gone at the baseline.

Layers that consume one indexer's choice also share its conversion to places in the cache, as vLLM's static
Shared layers do: a Shared site joins its leader's index group, and the group is told of how many layers it is
(see `seam`).
"""

import functools
from enum import Enum, auto
from typing import Any

import torch
from indexcache_core.contract import Site

from indexcache_runtime.engine import SiteMode
from indexcache_runtime.vllm.worker.cuda.batched_keys import BatchedKeys
from indexcache_runtime.vllm.worker.cuda.fast_indexer import FastIndexer
from indexcache_runtime.vllm.worker.cuda.sampled_rows import WARMED, SampledRows
from indexcache_runtime.vllm.worker.cuda.shared_layer import KeyStream, SharedLayer
from indexcache_runtime.vllm.worker.cuda.timing import Timer

CHOOSE = "_sparse_indexer_and_attn"


class Watch(Enum):
    """Says what a step looks at in a site, beside running it."""

    NOTHING = auto()
    KEEP = auto()
    """The sampled rows of its choice, kept for the sites that would follow it."""
    COMPARE = auto()
    """The sampled rows, of what it would choose and of what its leader chose."""
    TIME = auto()
    """When it begins and ends."""
    CHECK = auto()
    """The sampled rows of what the fast indexer chose, and of what vLLM's kernels would."""
    ASKED = auto()
    """Nothing yet: the graph that is captured keeps what the fast indexer was asked."""
    TAP = auto()
    """Nothing yet: the graph that is captured keeps rows, to be compared after each replay."""


class CudaSite:
    """Switches one layer with an indexer."""

    def __init__(
        self,
        layer: Any,
        site: Site,
        rows: SampledRows,
        timer: Timer,
        key_stream: KeyStream,
        batched_keys: BatchedKeys,
        fast: FastIndexer,
    ) -> None:
        self.layer, self.site, self._rows, self._timer = layer, site, rows, timer
        self._batched_keys, self._fast = batched_keys, fast
        self._shared_layer = SharedLayer(site.index, layer, key_stream, batched_keys)
        self._choose = getattr(type(layer), CHOOSE).__get__(layer)
        self._group, self._group_index = layer.impl.index_group, layer.impl.index_group_index
        self.mode = SiteMode.FULL
        self._watch = Watch.NOTHING
        self._compare_with: int | None = None

    def follow(self, leader: "CudaSite | None", place: int = 0) -> None:
        """Follow this leader: share its choice, as layer number `place` of its group. None: Full."""
        if leader is None:
            self.mode = SiteMode.FULL
            self.layer.skip_topk = False
            self.layer.__dict__.pop("forward", None)
            self._consume(self._group, self._group_index)
        else:
            self.mode = SiteMode.SHARED
            self.layer.skip_topk = True
            self.layer.__dict__["forward"] = self._shared_layer
            self._consume(leader._group, place)
        self._set_choose()

    @property
    def side_stream(self) -> Any:
        """Return the stream on which its choice becomes places in the cache."""
        return self._group.side_stream

    def warm(self) -> None:
        """Have what only Shared layers and measurements run compiled, so that no request waits for it."""
        self._shared_layer.warm(WARMED)
        self._rows.warm(self.layer.indexer)

    def restore(self) -> None:
        """Put the layer back as vLLM made it."""
        self._watch, self._compare_with = Watch.NOTHING, None
        self.follow(None)
        self.leads(1)

    def leads(self, layers: int) -> None:
        """Tell its group that so many layers, itself among them, consume its choice: with one
        FLASH_ATTN_MLA_SPARSE converts beside nothing, and for more it converts once for all."""
        self._group.num_layers = layers

    def _consume(self, group: Any, index: int) -> None:
        self.layer.impl.index_group, self.layer.impl.index_group_index = group, index

    def watch(self, what: Watch, *, compare_with: int | None = None) -> None:
        """Set what the next step looks at here. `compare_with`: the index of the leader, for COMPARE."""
        self._watch, self._compare_with = what, compare_with
        self._set_choose()

    def _set_choose(self) -> None:
        if self._watch in (Watch.KEEP, Watch.COMPARE, Watch.CHECK, Watch.TIME):
            self.layer.__dict__[CHOOSE] = self._watched
        elif self.mode is SiteMode.SHARED:
            self.layer.__dict__[CHOOSE] = self._joined
        elif self._watch is Watch.TAP:
            self.layer.__dict__[CHOOSE] = self._tapped
        elif self._watch is Watch.ASKED:
            self.layer.__dict__[CHOOSE] = self._asked
        else:
            self.layer.__dict__.pop(CHOOSE, None)

    def _joined(self, positions: Any, q_c: Any, *rest: Any) -> None:
        if self._batched_keys.kept is not None:
            self._batched_keys.kept.q_c[self.site.index] = q_c
        else:
            self._shared_layer.join()
        self._choose(positions, q_c, *rest)

    def _tapped(
        self, positions: Any, q_c: Any, q_nope: Any, q_pe: Any, q: Any, key: Any, weights: Any, *rest: Any
    ) -> None:
        self._choose(positions, q_c, q_nope, q_pe, q, key, weights, *rest)
        if self._rows.taps.is_capturing:
            self._rows.taps.keep(self.site.index, "q", q.view(torch.uint8))
            self._rows.taps.keep(self.site.index, "weights", weights)
            self._rows.taps.keep(self.site.index, "chosen", self.layer.topk_indices_buffer[: len(q)])

    def _asked(
        self, positions: Any, q_c: Any, q_nope: Any, q_pe: Any, q: Any, key: Any, weights: Any, *rest: Any
    ) -> None:
        self._choose(positions, q_c, q_nope, q_pe, q, key, weights, *rest)
        kept = self._batched_keys.kept
        if self._fast.chose and kept is not None and torch.cuda.is_current_stream_capturing():
            kept.asked[self.site.index] = q.view(torch.uint8), weights

    def _watched(
        self, positions: Any, q_c: Any, q_nope: Any, q_pe: Any, q: Any, key: Any, weights: Any, *rest: Any
    ) -> None:
        if self.mode is SiteMode.SHARED:
            self._shared_layer.join()
        if self._watch is Watch.TIME:
            self._timer.mark("layer")
        if self._watch is Watch.COMPARE and self.mode is SiteMode.SHARED:
            with self._rows.failure.kept(), self._rows.priced():
                self._to_scratch(q_c)
        self._choose(positions, q_c, q_nope, q_pe, q, key, weights, *rest)
        if self._watch is Watch.KEEP:
            with self._rows.failure.kept():
                self._rows.keep(self.site.index, self.layer.topk_indices_buffer)
        if self._watch is Watch.CHECK and self._fast.chose:
            with self._rows.failure.kept(), self._rows.priced():
                self._to_vllms(q, weights)
        if self._watch is Watch.COMPARE and self.mode is SiteMode.FULL:
            with self._rows.failure.kept(), self._rows.priced():
                assert self._compare_with is not None
                self._to_leader(self._compare_with, q, weights)
        if self._watch is Watch.TIME:
            self._timer.mark("layer")

    def _to_vllms(self, q: torch.Tensor, weights: torch.Tensor) -> None:
        """Compare what the fast indexer chose for the sampled rows with what vLLM's kernels would."""
        index = self._rows.index
        assert index is not None
        chosen = self.layer.topk_indices_buffer.index_select(0, index)
        picked = q.view(torch.uint8).index_select(0, index).view(q.dtype)
        self._rows.check(self.layer.indexer, chosen, picked, weights.index_select(0, index))

    def _to_leader(self, leader: int, q: torch.Tensor, weights: torch.Tensor) -> None:
        """Compare what this Full layer chose for the sampled rows with what its leader chose."""
        index = self._rows.index
        assert index is not None
        fresh = self.layer.topk_indices_buffer.index_select(0, index)
        picked = q.view(torch.uint8).index_select(0, index).view(q.dtype)
        self._rows.compare(
            self.site.index,
            self.layer.indexer,
            self._rows.kept[leader],
            fresh,
            picked,
            weights.index_select(0, index),
        )

    def _to_scratch(self, q_c: torch.Tensor) -> None:
        """Score the sampled rows as the indexer would, and compare its choice with the one that is read."""
        index = self._rows.index
        assert index is not None
        reused = self.layer.topk_indices_buffer.index_select(0, index)
        self._compare_afresh(
            reused, q_c.index_select(0, index), self._shared_layer.weights.index_select(0, index)
        )

    def _compare_afresh(self, reused: torch.Tensor, q_c: torch.Tensor, weights: torch.Tensor) -> None:
        positions = self._rows.positions
        assert positions is not None
        self._rows.compare(
            self.site.index,
            self.layer.indexer,
            reused,
            None,
            *self._shared_layer.asked(positions, q_c, weights),
        )

    def measure(self, leader: int) -> None:
        """Compare, after a replayed step, what its graph left of this site with what it left of its leader's
        choice."""
        me, indexer, kept, index = (
            self.site.index,
            self.layer.indexer,
            self._rows.kept_by_graph,
            self._rows.index,
        )
        assert kept is not None
        assert index is not None
        if self.mode is SiteMode.SHARED:
            weights = indexer.wk_weights_proj(kept.hidden[me].index_select(0, index))[0][
                :, indexer.head_dim :
            ]
            self._compare_afresh(
                kept.chosen[leader].index_select(0, index), kept.q_c[me].index_select(0, index), weights
            )
        else:
            tapped = functools.partial(self._rows.taps.kept, rows=len(index))
            q = tapped(me, "q").view(torch.float8_e4m3fn)
            self._rows.compare(
                me, indexer, tapped(leader, "chosen"), tapped(me, "chosen"), q, tapped(me, "weights")
            )

    def check(self) -> None:
        """Compare, after a replayed step, what the fast indexer chose here with what vLLM's kernels would."""
        kept, index = self._rows.kept_by_graph, self._rows.index
        assert kept is not None
        assert index is not None
        q, weights = (x.index_select(0, index) for x in kept.asked[self.site.index])
        chosen = kept.chosen[self.site.index].index_select(0, index)
        self._rows.check(self.layer.indexer, chosen, q.view(torch.float8_e4m3fn), weights)

"""Does what Shared layers do in a step that a CUDA graph replays: their keys, all at once, when the last of
them has its input.

Nobody reads a Shared layer's key in the step that makes it, so it can be late. With few tokens a layer's own
two kernels take some microseconds each time, unless another stream hides them, which depends on what else the
device did before; two launches for all layers take hardly more than those of one. Their sums are taken in
another order, as those of another number of tokens are in vLLM: a key may differ by a step of fp8 from the
one that the layer itself would write.

What measuring needs of such a step is not copied: it lies where the graph left it until the next replay. So
the inputs are held while the graph is captured, and leaders write their choices to buffers of their own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from indexcache_core.pattern import SHARED, leaders
from indexcache_kernels.index_keys import Indexer, Rope, check
from indexcache_kernels.index_keys import triton as kernel


@dataclass
class KeptByGraph:
    """Says where a replay of one graph leaves what measuring needs, by site: good until the next replay of
    any."""

    hidden: dict[int, torch.Tensor] = field(default_factory=dict)
    """(tokens, hidden), a Shared layer's input."""
    q_c: dict[int, torch.Tensor] = field(default_factory=dict)
    """(tokens, rank), of which it would make its query."""
    chosen: dict[int, torch.Tensor] = field(default_factory=dict)
    """(most tokens, k) int32, a leader's choice."""
    asked: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    """Where the fast indexer chose: its query, (tokens, heads, dim) fp8 as uint8, and weights, (tokens,
    heads) float32."""
    calls: torch.Tensor | None = None
    """The kernel's table: it must live as long as the graph."""

    def let_go(self) -> None:
        """Keep only addresses of the captured graph's tensors: no more is wanted from here on, and other
        graphs may use the same memory."""
        from vllm.utils.torch_utils import weak_ref_tensor

        for tensors in (self.hidden, self.q_c):
            tensors.update({site: weak_ref_tensor(x) for site, x in tensors.items()})
        for site, (q, weights) in self.asked.items():
            self.asked[site] = weak_ref_tensor(q), weak_ref_tensor(weights)


class BatchedKeys:
    """Makes the keys of all Shared layers of one worker's model."""

    def __init__(self, layers: Sequence[Any], tokens: int) -> None:
        """Take the layers with an indexer, all of them, in execution order. tokens: the most that a whole
        graph has. Raises ValueError for what the kernel does not take."""
        self._indexers = [_indexer(layer.indexer) for layer in layers]
        check(self._indexers)
        first = layers[0]
        self._layers, self._tokens = layers, tokens
        self._table = kernel.table_of(self._indexers)
        self.bytes = self._table.nbytes
        """Device memory taken."""
        self._rope = Rope(
            first.indexer_rope_emb.cos_sin_cache, bool(first._index_rope_interleave), first.indexer.k_norm.eps
        )
        self._chosen: dict[int, torch.Tensor] = {}
        self._shared_sites: list[int] = []
        self._added: list[tuple[int, torch.Tensor, torch.Tensor]] = []
        self._captured: list[list[int]] | None = None
        self.kept: KeptByGraph | None = None
        """Of the graph that is being captured."""

    def warm(self) -> None:
        """Have the kernels compiled for all numbers of tokens and layers, by tokens that have no slot."""
        for tokens in kernel.ROWS:
            weight = self._indexers[0].weight
            hidden = weight.new_zeros((tokens, weight.shape[1]))
            nowhere = torch.full((tokens,), -1, dtype=torch.int64, device=weight.device)
            calls = torch.tensor(kernel.calls_of([0], [hidden], [nowhere]), device=weight.device)
            kernel.index_keys_triton(
                self._table, calls, self._indexers[0], torch.zeros_like(nowhere), self._rope
            )

    def holds(self, pattern: str) -> int:
        """Return the bytes of the inputs that the largest graph of a pattern holds."""
        layer, weight = self._layers[0], self._indexers[0].weight
        each = weight.shape[1] + layer.q_a_layernorm.weight.shape[0]
        return int(self._tokens * pattern.count(SHARED) * each * weight.element_size())

    @contextmanager
    def capturing(self, pattern: str) -> Iterator[KeptByGraph]:
        """Let a graph be captured under this pattern meanwhile: layers run first without it, then as it is
        captured."""
        self.kept = kept = KeptByGraph()
        self._shared_sites, self._captured = [i for i, letter in enumerate(pattern) if letter == SHARED], None
        try:
            with self._choices_apart(pattern, kept):
                yield kept
                if self._captured is not None and kept.calls is not None:
                    with torch.inference_mode():
                        kept.calls.copy_(torch.tensor(self._captured))
        finally:
            self.kept, self._added = None, []
        kept.let_go()

    @contextmanager
    def _choices_apart(self, pattern: str, kept: KeptByGraph) -> Iterator[None]:
        """Have leaders that are followed write their choices to buffers of their own meanwhile, and followers
        read there."""
        leading = leaders(pattern)
        followed = {leading[i] for i in self._shared_sites}
        vllms_own = self._layers[0].topk_indices_buffer
        readers = [getattr(layer.impl, "_indexer", None) for layer in self._layers]
        try:
            for i, leader in enumerate(leading):
                if leader in followed:
                    kept.chosen[leader] = self._read(i, self._chosen_by(leader))
            yield
        finally:
            for i, reader in enumerate(readers):
                self._read(i, vllms_own)
                if (
                    reader is not None
                ):  # vLLM's attention asks its indexer for the buffer until it is given one
                    self._layers[i].impl._indexer = reader

    def _read(self, i: int, chosen: torch.Tensor) -> torch.Tensor:
        """Have a layer write its choice there, or read its leader's from there."""
        self._layers[i].topk_indices_buffer = self._layers[i].impl.topk_indices_buffer = chosen
        return chosen

    def _chosen_by(self, leader: int) -> torch.Tensor:
        if leader not in self._chosen:
            own = self._layers[leader].topk_indices_buffer
            self._chosen[leader] = chosen = own.new_empty((min(self._tokens, own.shape[0]), own.shape[1]))
            self.bytes += chosen.nbytes
        return self._chosen[leader]

    def add(self, site: int, positions: torch.Tensor, hidden: torch.Tensor, slots: torch.Tensor) -> None:
        """Add a Shared layer that ran. positions, slots: (tokens,) int64; hidden: (tokens, hidden). The last
        one makes all keys."""
        assert self.kept is not None
        hidden = hidden.contiguous()
        self.kept.hidden[site] = hidden = hidden.clone() if hidden.data_ptr() % 16 else hidden
        self._added.append((site, hidden, slots))
        if len(self._added) < len(self._shared_sites):
            return
        sites, inputs, places = zip(*self._added, strict=True)
        calls, self._added = kernel.calls_of(sites, inputs, places), []
        if torch.cuda.is_current_stream_capturing():
            self._captured = calls  # a captured copy would read them at each replay; they are put there after
        else:
            self.kept.calls = torch.tensor(calls, device=hidden.device)
            self.kept.hidden.clear()  # the capture holds its own, and only those are the graph's
            self.kept.q_c.clear()
        assert self.kept.calls is not None
        kernel.index_keys_triton(self._table, self.kept.calls, self._indexers[0], positions, self._rope)


def _indexer(indexer: Any) -> Indexer:
    norm = indexer.k_norm
    return Indexer(
        indexer.wk_weights_proj.weight, norm.weight.float(), norm.bias.float(), indexer.k_cache.kv_cache
    )

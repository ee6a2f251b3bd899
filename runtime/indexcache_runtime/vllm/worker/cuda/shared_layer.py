"""A Shared layer's forward: vLLM's own for a layer without an indexer, and beside it the indexer's key.

The key is the only index work of a Shared layer: no query projection, no quantisation, no scores, no top-k.
It is the Full layer's own product (its columns for the weights of the heads ride along) and vLLM's own kernel
that norms, rotates, quantises and writes it, so the same hidden state gives the same key to the bit. Both run
on a stream of their own, from the start of the layer to its attention: what attention waits for takes longer,
so the layer takes hardly more time than one that has no indexer. In whole CUDA graphs, of few tokens, keys
are made otherwise: see batched_keys.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from indexcache_runtime.vllm.worker.cuda.batched_keys import BatchedKeys


@dataclass(frozen=True)
class KeyStream:
    """Holds where the Shared layers of a model make their keys."""

    stream: Any
    nowhere: torch.Tensor
    """(tokens, 1) int32, cleared by the kernel in place of a choice."""
    blank: torch.Tensor
    """(tokens, rotated dimensions): stands for queries and values, which the layer makes itself."""

    @classmethod
    def of(cls, layer: Any) -> "KeyStream":
        """Make it for the model of this layer."""
        buffer, rope = layer.topk_indices_buffer, layer.rotary_emb.cos_sin_cache
        return cls(
            # Of another priority than the default, so none of those that graphs are captured on: PyTorch
            # hands out few, again and again.
            torch.cuda.Stream(buffer.device, priority=-1),  # type: ignore[no-untyped-call]
            torch.empty((buffer.shape[0], 1), dtype=buffer.dtype, device=buffer.device),
            torch.zeros(
                (buffer.shape[0], rope.shape[-1]),
                dtype=layer.q_a_layernorm.weight.dtype,
                device=buffer.device,
            ),
        )

    @property
    def bytes(self) -> int:
        """Return the device memory taken."""
        return sum(t.numel() * t.element_size() for t in (self.nowhere, self.blank))


class SharedLayer:
    """Stands in for one layer's forward while it is Shared."""

    def __init__(self, site: int, layer: Any, key_stream: KeyStream, batched_keys: BatchedKeys) -> None:
        self._site, self._layer, self._key_stream, self._batched_keys = site, layer, key_stream, batched_keys
        self._forward = type(layer).forward.__get__(layer)
        self._projected: torch.Tensor | None = None

    def __call__(self, positions: torch.Tensor, hidden_states: torch.Tensor) -> torch.Tensor:
        """Stand in for the layer's forward. Its attention must call `join`."""
        if self._batched_keys.kept is not None:
            out: torch.Tensor = self._forward(positions, hidden_states)
            self._batched_keys.add(self._site, positions, hidden_states, self._slots()[1])
            return out
        self._key_stream.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._key_stream.stream):
            self._projected = self._layer.indexer.wk_weights_proj(hidden_states)[0]
            self.write_key(positions, self._projected[:, : self._layer.indexer.head_dim])
        try:
            out = self._forward(positions, hidden_states)
            return out
        finally:
            self._projected = None

    def join(self) -> None:
        """Have what was made beside ready for the work queued from here on; and what it read may be freed."""
        torch.cuda.current_stream().wait_stream(self._key_stream.stream)

    def asked(
        self, positions: torch.Tensor, q_c: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return an indexer's query for some rows, as a Full layer makes it: (rows, heads, dim) fp8, and the
        heads' weights, (rows, heads) float32. positions: (rows,) int64; q_c: (rows, rank), the layer's;
        weights: (rows, heads), unscaled."""
        from vllm.models.deepseek_v32.common.kernels import fused_q

        layer, indexer = self._layer, self._layer.indexer
        none = self._key_stream.blank[: positions.shape[0]].unsqueeze(
            1
        )  # the layer's own query is not wanted
        quantised, scaled, _ = fused_q(
            positions,
            none,
            layer.rotary_emb.cos_sin_cache,
            indexer.wq_b(q_c)[0].view(-1, indexer.n_head, indexer.head_dim),
            layer.indexer_rope_emb.cos_sin_cache,
            none,
            layer._q_scale,
            weights,
            indexer.softmax_scale,
            indexer.n_head**-0.5,
            has_indexer=True,
            index_rope_interleave=layer._index_rope_interleave,
            quantize_mqa=False,
        )
        return quantised, scaled

    @property
    def weights(self) -> torch.Tensor:
        """Return the unscaled weights of the indexer's heads: (tokens, heads). After `join`."""
        assert self._projected is not None
        return self._projected[:, self._layer.indexer.head_dim :]

    def warm(self, rows: Sequence[int]) -> None:
        """Have the kernels compiled and loaded: for keys, by tokens that have no slot; for queries, for these
        numbers of rows."""
        indexer, blank, tokens = self._layer.indexer, self._key_stream.blank, 16
        for n in rows:
            q_c = blank.new_zeros((n, self._layer.q_a_layernorm.weight.shape[0]))
            self.asked(
                torch.zeros(n, dtype=torch.int64, device=blank.device),
                q_c,
                blank.new_zeros((n, indexer.n_head)),
            )
        key = blank.new_zeros((tokens, indexer.head_dim + indexer.n_head))[:, : indexer.head_dim]
        slots = torch.full((tokens,), -1, dtype=torch.int64, device=blank.device)
        self._write(torch.zeros_like(slots), key, slots, slots)

    def write_key(self, positions: torch.Tensor, key: torch.Tensor) -> None:
        """Write the key: norm, rotate and quantise (tokens, dim), in a step that has slots."""
        from vllm.forward_context import get_forward_context

        if get_forward_context().attn_metadata is not None:
            self._write(positions, key, *self._slots())

    def _slots(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the slots of the step's tokens, in the layer's cache and in the indexer's: (tokens,) int64
        each."""
        from vllm.forward_context import get_forward_context

        slots = get_forward_context().slot_mapping
        own = slots[self._layer.layer_name]
        return own, slots.get(self._layer.indexer.k_cache.prefix, own)

    def _write(
        self, positions: torch.Tensor, key: torch.Tensor, slots: torch.Tensor, key_slots: torch.Tensor
    ) -> None:
        from vllm.models.deepseek_v32.common.kernels import fused_norm_rope

        layer, indexer = self._layer, self._layer.indexer
        blank = self._key_stream.blank[: positions.shape[0]]
        fused_norm_rope(
            positions,
            q_c=blank,
            q_rms_norm_w=blank[0],
            q_rms_eps=indexer.k_norm.eps,
            kv_c=blank,
            kv_rms_norm_w=blank[0],
            kv_rms_eps=indexer.k_norm.eps,
            k_pe=blank,
            k_rope_cos_sin_cache=layer.rotary_emb.cos_sin_cache,
            index_k=key,
            index_k_layer_norm_w=indexer.k_norm.weight,
            index_k_layer_norm_bias=indexer.k_norm.bias,
            index_k_layer_norm_eps=indexer.k_norm.eps,
            index_k_rope_cos_sin_cache=layer.indexer_rope_emb.cos_sin_cache,
            topk_indices_buffer=self._key_stream.nowhere,
            slot_mapping=slots,
            indexer_slot_mapping=key_slots,
            indexer_k_cache=indexer.k_cache.kv_cache,
            indexer_cache_shuffled=indexer.k_cache.uses_shuffled_layout,
            has_indexer=True,
            index_rope_interleave=layer._index_rope_interleave,
            q_c_out=blank,
        )

"""The lightning indexer as vLLM's op: keys into the paged cache, then the choice of the k best positions for
every row.

A layer's op has three seams, apart so that a plugin can run any without the others: `forward_cpu` writes the
step's keys, always, and calls `select`; `select` writes the chosen positions into `topk_indices_buffer`,
which attention reads; `row_scores` gives the scores of some rows. Keys are kept in the model's dtype, not in
fp8, so no rounding enters the choice.

Trap: a layer that skips the key write leaves holes which a later step scores. Whoever skips a choice must
still call `forward_cpu`.
"""

from typing import Any

import torch
from vllm.forward_context import get_forward_context
from vllm.model_executor.custom_op import op_registry_oot
from vllm.model_executor.layers.sparse_attn_indexer import SparseAttnIndexer

from dsa_cpu import guard
from dsa_cpu.attention import TorchIndexerBackend
from dsa_cpu.choice import NEVER, index_scores, topk_positions
from dsa_cpu.metadata import SparseMetadata
from dsa_cpu.paging import flat, write


class TorchSparseAttnIndexer(SparseAttnIndexer):  # type: ignore[misc]
    """Stands in for vLLM's indexer op of one layer, in torch."""

    rows_at_once = 256
    """Of a long prefill, how many rows are scored together, over no more positions than the last of them can
    see.
    """

    def __init__(
        self,
        k_cache: Any,
        quant_block_size: int,
        scale_fmt: str,
        topk_tokens: int,
        head_dim: int,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(k_cache, quant_block_size, scale_fmt, topk_tokens, head_dim, *args, **kwargs)
        if self.skip_k_cache_insert or self.compress_ratio != 1:
            raise guard.Unsupported(
                "SparseAttnIndexer: compressed or shared keys, as DeepSeek-V4 has them; only one key a token "
                "is known here"
            )
        # On the instance, since vLLM asks for the cache's spec and backend only after the model is built.
        k_cache.head_dim, k_cache.dtype = head_dim, torch.get_default_dtype()
        k_cache.get_attn_backend = lambda: TorchIndexerBackend
        keep_queries_unquantized()

    def forward_cpu(
        self, hidden_states: torch.Tensor, q: torch.Tensor, k: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """Write the step's keys, then choose. Returns the buffer of chosen positions.

        q: (tokens, heads, dim); k: (tokens, dim); weights: (tokens, heads).
        """
        metadata = get_forward_context().attn_metadata
        if isinstance(metadata, dict):  # else vLLM's profiling run, which has no caches
            m = metadata[self.k_cache.prefix]
            write(self.k_cache.kv_cache, m.slot_mapping, k)
            self.select(q, weights, m)
        buffer: torch.Tensor = self.topk_indices_buffer
        return buffer

    forward_native = forward_cpu

    def select(self, q: torch.Tensor, weights: torch.Tensor, m: SparseMetadata) -> None:
        """Choose for every row of the step, into `topk_indices_buffer[:tokens]`: (tokens, k) int32, -1 padded
        at the end.

        q: (tokens, heads, dim); weights: (tokens, heads).
        """
        n = m.num_actual_tokens
        if n == len(m.seq_lens):  # a row a request: one batch
            self.topk_indices_buffer[:n] = self._choose(
                q[:n], flat(self.k_cache.kv_cache)[m.slots], weights[:n], m.position
            )
            return
        for r, context in enumerate(m.seq_lens):
            keys, end = self._keys_of(m, r), m.starts[r + 1]
            for first in range(m.starts[r], end, self.rows_at_once):
                rows = slice(first, min(first + self.rows_at_once, end))
                seen = context - (end - rows.stop)  # positions that the last of these rows can see
                self.topk_indices_buffer[rows] = self._choose(
                    q[rows], keys[:seen], weights[rows], m.position[rows]
                )

    def row_scores(
        self, q: torch.Tensor, weights: torch.Tensor, m: SparseMetadata, rows: torch.Tensor
    ) -> torch.Tensor:
        """Return index scores of some rows of the step, over all positions of their contexts.

        q: (tokens, heads, dim); weights: (tokens, heads); rows: (n,) int64, in any order.
        Returns (n, longest context in the step) float32, -inf after each row's own position.
        """
        out = q.new_full((len(rows), max(m.seq_lens, default=0)), NEVER, dtype=torch.float32)
        for r in sorted(set(m.request[rows].tolist())):
            of_request = (m.request[rows] == r).nonzero()[:, 0]
            chosen = rows[of_request]
            out[of_request, : m.seq_lens[r]] = index_scores(
                q[chosen], self._keys_of(m, r), weights[chosen], m.position[chosen]
            )
        return out

    def _choose(
        self, q: torch.Tensor, keys: torch.Tensor, weights: torch.Tensor, position: torch.Tensor
    ) -> torch.Tensor:
        return topk_positions(index_scores(q, keys, weights, position), self.topk_tokens)

    def _keys_of(self, m: SparseMetadata, request: int) -> torch.Tensor:
        """Return the keys of one request's context: (positions, dim)."""
        return flat(self.k_cache.kv_cache)[m.slots[request, : m.seq_lens[request]]]


def register_indexer() -> None:
    """Have vLLM construct our op wherever a model constructs `SparseAttnIndexer`. May be called again. Raises
    guard.Unsupported.
    """
    if "SparseAttnIndexer" not in op_registry_oot:
        guard.check_indexer(SparseAttnIndexer)
        SparseAttnIndexer.register_oot(TorchSparseAttnIndexer)


def unquantized(q: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the queries themselves, in place of vLLM's quantization of queries (rows, dim) to fp8, and
    scales of one (rows, 1).
    """
    return q, q.new_ones(q.shape[0], 1)


def keep_queries_unquantized() -> None:
    """Replace the one thing of vLLM that has no hook: `Indexer.forward` calls a Triton kernel that rounds
    queries to fp8.

    Done when an indexer is built and not before: only then is the module of the model loaded, and only in the
    process that runs it.
    """
    from vllm.model_executor.models import deepseek_v2

    if deepseek_v2.per_token_group_quant_fp8 is not unquantized:
        guard.check_quantize(vars(deepseek_v2), deepseek_v2.Indexer.forward)
        deepseek_v2.per_token_group_quant_fp8 = unquantized

"""Sparse multi-head latent attention (MLA): every query row attends to the positions its indexer chose, in
the latent space.

The formulas are those of MLA's absorbed form (DeepSeek-V2, arXiv 2405.04434, section 2.1; DeepSeek-V3.2,
arXiv 2512.02556, section 2.1). vLLM projects queries into the latent space before, and the output out of it
after.
"""

from typing import Any

import torch
from vllm.v1.attention.backend import AttentionBackend, MLAAttentionImpl

from dsa_cpu.metadata import SparseMetadata, SparseMetadataBuilder
from dsa_cpu.paging import flat, write


class TorchSparseMLABackend(AttentionBackend):  # type: ignore[misc]
    """Says what vLLM asks of an attention backend."""

    @staticmethod
    def get_name() -> str:
        """Return the name that vLLM's log shows."""
        return "TORCH_SPARSE_MLA"

    @staticmethod
    def get_impl_cls() -> type["TorchSparseMLAImpl"]:
        """Return the class whose instance each layer holds."""
        return TorchSparseMLAImpl

    @staticmethod
    def get_builder_cls() -> type[SparseMetadataBuilder]:
        """Return the class that builds a step's metadata."""
        return SparseMetadataBuilder

    @classmethod
    def is_mla(cls) -> bool:
        """Return True: one latent for all heads."""
        return True

    @classmethod
    def is_sparse(cls) -> bool:
        """Return True: positions come from an indexer."""
        return True


class TorchIndexerBackend(TorchSparseMLABackend):
    """Stands as the backend of the indexers' key caches: vLLM needs one for every cache, and uses its
    metadata builder only.
    """

    @staticmethod
    def get_name() -> str:
        """Return the name that vLLM's log shows."""
        return "TORCH_DSA_INDEXER"


class TorchSparseMLAImpl(MLAAttentionImpl[SparseMetadata]):  # type: ignore[misc]
    """Computes one layer's attention."""

    is_sparse = True
    supports_dense_mha_prefill = False
    rows_at_once = 256
    """Bounds the gathered (rows, k, width) tensor."""

    def __init__(
        self,
        num_heads: int,
        head_size: int,
        scale: float,
        num_kv_heads: int,
        alibi_slopes: list[float] | None,
        sliding_window: int | None,
        kv_cache_dtype: str,
        logits_soft_cap: float | None,
        attn_type: str,
        kv_sharing_target_layer_name: str | None,
        *,
        kv_lora_rank: int,
        topk_indices_buffer: torch.Tensor | None = None,
        indexer: Any = None,
        **mla_args: Any,
    ) -> None:
        if alibi_slopes or sliding_window or logits_soft_cap or kv_sharing_target_layer_name:
            raise NotImplementedError(
                "TORCH_SPARSE_MLA: plain causal attention only; found ALiBi, a window, a soft cap or shared "
                "keys"
            )
        self.num_heads, self.head_size, self.scale, self.kv_lora_rank = (
            num_heads,
            head_size,
            scale,
            kv_lora_rank,
        )
        self.kv_cache_dtype = kv_cache_dtype
        self.indexer: Any = indexer
        self.own_buffer: Any = topk_indices_buffer

    def record_logical_topk_ready(self) -> None:
        """Do nothing: vLLM calls it after each choice, for GPU streams, and there is nothing to wait for
        here."""

    def do_kv_cache_update(
        self,
        kv_c_normed: torch.Tensor,
        k_pe: torch.Tensor,
        kv_cache: torch.Tensor,
        slot_mapping: torch.Tensor,
        kv_cache_dtype: str,
        k_scale: torch.Tensor,
    ) -> None:
        """Keep this step's latents (tokens, lora) and rotated keys (tokens, 1, rope). An empty cache is the
        profiling run's.
        """
        if kv_cache.numel():
            write(kv_cache, slot_mapping.flatten(), torch.cat([kv_c_normed, k_pe.squeeze(1)], dim=-1))

    def forward_mqa(
        self,
        q: torch.Tensor | tuple[torch.Tensor, torch.Tensor],
        kv_c_and_k_pe_cache: torch.Tensor,
        attn_metadata: Any,
        layer: Any,
    ) -> tuple[torch.Tensor, None]:
        """Compute the attention of all rows of a step.

        q: (tokens, heads, lora + rope), or its two parts. Positions are read from the indexer's buffer (rows,
        k) int32, -1 padded. Returns (tokens, heads, lora) in the queries' dtype, and no log-sum-exp.
        """
        q = torch.cat(q, dim=-1) if isinstance(q, tuple) else q
        buffer: torch.Tensor = self.own_buffer if self.indexer is None else self.indexer.topk_indices_buffer
        out = q.new_empty(q.shape[0], q.shape[1], self.kv_lora_rank)
        for first in range(0, q.shape[0], self.rows_at_once):
            rows = slice(first, min(first + self.rows_at_once, q.shape[0]))
            out[rows] = self.attend(
                q[rows], flat(kv_c_and_k_pe_cache), attn_metadata, attn_metadata.request[rows], buffer[rows]
            ).to(q.dtype)
        return out, None

    def attend(
        self,
        q: torch.Tensor,
        cache: torch.Tensor,
        m: SparseMetadata,
        request: torch.Tensor,
        chosen: torch.Tensor,
    ) -> torch.Tensor:
        """Compute the attention of some rows in float32.

        q: (rows, heads, lora + rope); cache: (slots, lora + rope); request: (rows,); chosen: (rows, k) int32,
        -1 padded at the end.
        """
        width = max(1, int((chosen >= 0).sum(1).max()))
        chosen = chosen[:, :width].long()
        kv = cache[m.slots[request[:, None], chosen.clamp(min=0)]].float()  # [rows, width, lora + rope]
        scores = torch.bmm(q.float(), kv.transpose(1, 2)).mul_(self.scale)  # [rows, heads, width]
        scores.masked_fill_((chosen < 0)[:, None], float("-inf"))
        return torch.bmm(scores.softmax(-1), kv[..., : self.kv_lora_rank])

"""Says which token of a step belongs to which request, at which position, and in which slot of the paged
caches it is kept.

One dataclass and one builder serve both kinds of cache that a DSA layer has: the latents of its attention and
the keys of its indexer. Every token counts as "decode": vLLM's MLA layer then sends whole prefills, chunks,
decodes and mixtures of them through one method.
"""

from dataclasses import dataclass
from typing import Any

import torch
from vllm.v1.attention.backend import AttentionMetadata, AttentionMetadataBuilder

from dsa_cpu.paging import rows_of, slots_of


@dataclass
class SparseMetadata(AttentionMetadata):  # type: ignore[misc]
    """Describes one step of one group of caches. All tensors are int64 but `slot_mapping`, which is vLLM's
    own."""

    num_actual_tokens: int
    slot_mapping: torch.Tensor
    """(tokens,) where this step's rows are written; -1 is padding."""
    slots: torch.Tensor
    """(requests, longest context) where each position of each request is kept. Beyond a request's context: 0,
    to be masked.
    """
    request: torch.Tensor
    """(tokens,) the request of each token."""
    position: torch.Tensor
    """(tokens,) its position in that request."""
    starts: list[int]
    """The first row of each request, and after them the end."""
    seq_lens: list[int]
    """The context of each request, with this step's tokens."""
    num_decodes: int
    num_decode_tokens: int
    # Read by vLLM's MLAAttention.forward_impl.
    num_prefills: int = 0
    prefill: None = None


class SparseMetadataBuilder(AttentionMetadataBuilder[SparseMetadata]):  # type: ignore[misc]
    """Builds a step's metadata from vLLM's."""

    def __init__(
        self, kv_cache_spec: Any, layer_names: list[str], vllm_config: Any, device: torch.device
    ) -> None:
        super().__init__(kv_cache_spec, layer_names, vllm_config, device)

    def build(
        self, common_prefix_len: int, common_attn_metadata: Any, fast_build: bool = False
    ) -> SparseMetadata:
        """Build the metadata of one step."""
        c = common_attn_metadata
        starts = c.query_start_loc_cpu[: c.num_reqs + 1].long()
        seq_lens = c.seq_lens[: c.num_reqs].long()
        request, position = rows_of(starts, seq_lens)
        return SparseMetadata(
            num_actual_tokens=c.num_actual_tokens,
            slot_mapping=c.slot_mapping,
            slots=slots_of(c.block_table_tensor[: c.num_reqs], seq_lens, self.kv_cache_spec.block_size),
            request=request,
            position=position,
            starts=starts.tolist(),
            seq_lens=seq_lens.tolist(),
            num_decodes=c.num_reqs,
            num_decode_tokens=c.num_actual_tokens,
        )

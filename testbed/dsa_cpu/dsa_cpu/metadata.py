"""Which token of a step belongs to which request, at which position, and in which slot of the paged caches it is kept.

One dataclass and one builder serve both kinds of cache that a DSA layer has: the latents of its attention and the keys of its indexer.
Every token counts as "decode": vLLM's MLA layer then sends whole prefills, chunks, decodes and mixtures of them through one method.
"""

from dataclasses import dataclass
from typing import Any

import torch
from vllm.v1.attention.backend import AttentionMetadata, AttentionMetadataBuilder


@dataclass
class SparseMetadata(AttentionMetadata):  # type: ignore[misc]
    """One step of one group of caches. All tensors are int64 but `slot_mapping`, which is vLLM's own."""

    num_actual_tokens: int
    slot_mapping: torch.Tensor
    """(tokens,) where this step's rows are written; -1 is padding."""
    slots: torch.Tensor
    """(requests, longest context) where each position of each request is kept. Beyond a request's context: 0, to be masked."""
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

    def __init__(self, kv_cache_spec: Any, layer_names: list[str], vllm_config: Any, device: torch.device) -> None:
        super().__init__(kv_cache_spec, layer_names, vllm_config, device)

    def build(self, common_prefix_len: int, common_attn_metadata: Any, fast_build: bool = False) -> SparseMetadata:
        """The metadata of one step."""
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


def rows_of(starts: torch.Tensor, seq_lens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Request and position of every row of a step.

    starts: (requests + 1,) int64, first row of each request and the end. seq_lens: (requests,) int64, contexts with this step's tokens:
    a request's rows are the last of its context. Returns two (rows,) int64.
    """
    lengths = starts.diff()
    request = torch.repeat_interleave(torch.arange(len(seq_lens)), lengths)
    position = torch.arange(int(starts[-1])) - starts[request] + (seq_lens - lengths)[request]
    return request, position


def slots_of(block_table: torch.Tensor, seq_lens: torch.Tensor, block_size: int) -> torch.Tensor:
    """The slot of every position of every request, 0 beyond its context.

    block_table: (requests, blocks) integers; seq_lens: (requests,) int64. Returns (requests, longest context) int64.
    """
    position = torch.arange(int(seq_lens.max()) if len(seq_lens) else 0)
    blocks = block_table[:, position // block_size].long()
    return (blocks * block_size + position % block_size).masked_fill_(position >= seq_lens[:, None], 0)


def flat(cache: torch.Tensor) -> torch.Tensor:
    """A paged cache (blocks, block size, width) as (slots, width), without a copy. Raises RuntimeError if its layout forbids that."""
    return cache.view(-1, cache.shape[-1])


def write(cache: torch.Tensor, slot_mapping: torch.Tensor, rows: torch.Tensor) -> None:
    """Write rows (tokens, width) into a paged cache (blocks, block size, width) at the slots (tokens,); -1 is padding."""
    keep = slot_mapping >= 0
    flat(cache)[slot_mapping[keep].long()] = rows[: slot_mapping.shape[0]][keep].to(cache.dtype)

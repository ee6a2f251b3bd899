"""Holds a step as vLLM's function that chooses sees it, and a stand-in for that function."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from indexcache_kernels.index_topk import index_topk

HEADS, DIM, K = 16, 32, 4
PREFIX, DENSE = "keys", "mla"


class Request(NamedTuple):
    """A request's part of a step."""

    rows: int
    keys: int
    """Of its context, with this step's."""


class World:
    """Holds one step: what vLLM would tell of it, a cache, and vLLM's function on them."""

    def __init__(self, prefills: list[Request], decodes: int = 0, chunk_rows: int = 3) -> None:
        from vllm.v1.attention.backends.mla import indexer

        g = torch.Generator().manual_seed(0)
        tokens = decodes + sum(r.rows for r in prefills)
        self.q = torch.randn(tokens, HEADS, DIM, generator=g).to(torch.float8_e4m3fn)
        self.weights = torch.rand(tokens, HEADS, generator=g)
        self.keys = [torch.randn(r.keys, DIM, generator=g).to(torch.float8_e4m3fn) for r in prefills]
        self.scales = [torch.rand(r.keys, generator=g) + 0.5 for r in prefills]
        self.buffer = torch.full((tokens, K), -7, dtype=torch.int32)
        self.asked: list[tuple[int, int]] = []
        """First row and the one after the last of the chunks that vLLM's function chose for."""
        self.decoded = 0
        chunks, begin = [], decodes
        for number, r in enumerate(prefills):
            for row in range(0, r.rows, chunk_rows):
                end = min(row + chunk_rows, r.rows)
                last = r.keys - r.rows + 1 + torch.arange(row, end, dtype=torch.int32)
                chunks.append(
                    indexer.DeepseekV32IndexerPrefillChunkMetadata(
                        block_table=torch.tensor([[number]]),
                        cu_seqlen_ks=torch.zeros_like(last),
                        cu_seqlen_ke=last,
                        cu_seq_lens=torch.tensor([0, r.keys]),
                        token_to_seq=torch.zeros(r.keys),
                        total_seq_lens=r.keys,
                        token_start=begin + row,
                        token_end=begin + end,
                        num_reqs=1,
                        skip_kv_gather=row > 0,
                        local_cu_seq_lens=torch.tensor([0, r.keys]),
                        local_total_seq_lens=r.keys,
                        max_local_total_seq_lens=r.keys,
                    )
                )
            begin += r.rows
        self.metadata = indexer.DeepseekV32IndexerMetadata(
            seq_lens=torch.zeros(0),
            max_seq_len=0,
            slot_mapping=torch.zeros(0),
            num_decodes=decodes,
            num_decode_tokens=decodes,
            num_prefills=len(prefills),
            num_prefill_tokens=tokens - decodes,
            decode=SimpleNamespace() if decodes else None,
            prefill=indexer.DeepseekV32IndexerPrefillMetadata(chunks) if prefills else None,
        )
        self.step: dict[str, Any] = {PREFIX: self.metadata}

    def gather(self, cache: Any, k: Any, scale: Any, table: torch.Tensor, lens: Any) -> None:
        """Stand in for vLLM's kernel that takes a request's keys out of the cache."""
        number = int(table[0, 0])
        k.copy_(self.keys[number])
        scale.view(torch.float32).squeeze(-1).copy_(self.scales[number])

    def vllm(
        self,
        k_cache_prefix: str,
        kv_cache: Any,
        q_quant: torch.Tensor,
        q_scale: Any,
        weights: torch.Tensor,
        topk_tokens: int,
        topk_indices_buffer: torch.Tensor,
        skip_k_cache_insert: bool = True,
        dense_mha_metadata_layer_name: str = DENSE,
        dcp_world_size: int = 1,
        candidate_blocks: Any = None,
    ) -> torch.Tensor:
        """Stand in for vLLM's function."""
        told = self.step[k_cache_prefix]
        for chunk in told.prefill.chunks if told.num_prefills else ():
            rows = slice(chunk.token_start, chunk.token_end)
            number = int(chunk.block_table[0, 0])
            topk_indices_buffer[rows] = index_topk(
                q_quant[rows],
                self.keys[number],
                self.scales[number],
                weights[rows],
                chunk.cu_seqlen_ks,
                chunk.cu_seqlen_ke,
                K,
            )
            self.asked.append((rows.start, rows.stop))
        if told.num_decodes:
            topk_indices_buffer[: told.num_decode_tokens] = 77
            self.decoded += 1
        return topk_indices_buffer

    def call(self, choose: Any, **more: Any) -> torch.Tensor:
        """Let somebody choose. Returns the buffer."""
        self.buffer.fill_(-7)
        given = (PREFIX, None, self.q, None, self.weights, K, self.buffer)
        found: torch.Tensor = choose(*given, **more)
        return found.clone()

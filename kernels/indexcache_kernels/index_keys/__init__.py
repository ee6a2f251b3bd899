"""The keys of many indexers at once, into their caches: projected, normed, rotated, quantised.

A layer that reuses another's choice reads no key of its own in the same step, so all such layers' keys of a step can be made together once
the last of them has its input: two launches, as each layer by itself needs for a few tokens.

Of each token's input x, in layers of their own weights:

    key = rope(layernorm(W x))                  the first 2 h of its dimensions rotated, in pairs (i, i + h), or (2 i, 2 i + 1)
    scale = 2 ^ ceil(log2(max |key| / 448))     a power of two
    stored: key / scale as fp8 (e4m3), and the scale as float32

DeepSeek-V3.2's lightning indexer (DeepSeek-AI, 2025), as vLLM keeps its keys: a block of the cache holds the keys of its tokens, then their
scales.
"""

from collections.abc import Sequence

import torch

from indexcache_kernels.index_keys.inputs import Indexer, Rope
from indexcache_kernels.index_keys.naive import index_keys_naive

__all__ = ["Indexer", "Rope", "check", "index_keys"]


def index_keys(
    indexers: Sequence[Indexer], hidden: Sequence[torch.Tensor], slots: Sequence[torch.Tensor], positions: torch.Tensor, rope: Rope
) -> None:
    """Write the keys of some tokens into the caches of all indexers.

    hidden: each layer's (tokens, hidden) bfloat16, contiguous. slots: each layer's (tokens,) int64, the token's place in the cache, below
    zero if it has none. positions: (tokens,) int64.
    Raises ValueError for shapes or dtypes other than these. On CUDA this is the Triton kernel, elsewhere the torch reference.
    """
    check(indexers)
    for i, (x, s) in enumerate(zip(hidden, slots, strict=True)):
        if x.shape != (positions.shape[0], indexers[i].weight.shape[1]) or x.dtype != torch.bfloat16 or not x.is_contiguous():
            raise ValueError(f"hidden {i}: {tuple(x.shape)} {x.dtype}; expected (tokens, hidden) bfloat16, contiguous")
        if s.shape != positions.shape or s.dtype != torch.int64:
            raise ValueError(f"slots {i}: {tuple(s.shape)} {s.dtype}; expected (tokens,) int64")
    if positions.is_cuda:
        from indexcache_kernels.index_keys.triton import calls_of, index_keys_triton, table_of

        calls = calls_of(range(len(indexers)), hidden, slots)
        table, there = table_of(indexers), torch.tensor(calls, device=positions.device)
        index_keys_triton(table, there, indexers[0], positions, rope)
    else:
        index_keys_naive(indexers, hidden, slots, positions, rope)


def check(indexers: Sequence[Indexer]) -> None:
    """Raises ValueError, naming what is wrong, for indexers that no form takes."""
    first = indexers[0]
    dim = first.norm_weight.shape[0]
    if dim & (dim - 1) or dim < 16:
        raise ValueError(f"norm_weight: {dim} dimensions; expected a power of two, at least 16")
    if first.weight.shape[1] % 8:
        raise ValueError(f"weight: {first.weight.shape[1]} inputs; expected a multiple of 8, which can be read at once")
    if len({x.weight.data_ptr() for x in indexers}) < len(indexers):
        raise ValueError("weight: indexers share one; expected each to have its own, in its place all the time")
    for i, x in enumerate(indexers):
        if x.weight.dtype != torch.bfloat16 or x.weight.shape != first.weight.shape or not x.weight.is_contiguous():
            raise ValueError(
                f"weight of indexer {i}: {tuple(x.weight.shape)} {x.weight.dtype}; expected {tuple(first.weight.shape)} bfloat16"
            )
        for name, norm in (("norm_weight", x.norm_weight), ("norm_bias", x.norm_bias)):
            if norm.shape != (dim,) or norm.dtype != torch.float32:
                raise ValueError(f"{name} of indexer {i}: {tuple(norm.shape)} {norm.dtype}; expected ({dim},) float32")
        if x.weight.data_ptr() % 16:
            raise ValueError(f"weight of indexer {i}: at {x.weight.data_ptr():#x}; expected a multiple of 16 bytes")
        layout = x.cache.shape[1:], x.cache.stride()
        if x.cache.dtype != torch.uint8 or x.cache.shape[2] != dim + 4 or layout != (first.cache.shape[1:], first.cache.stride()):
            raise ValueError(f"cache of indexer {i}: {tuple(x.cache.shape)} {x.cache.dtype}; expected (blocks, tokens, {dim + 4}) uint8")

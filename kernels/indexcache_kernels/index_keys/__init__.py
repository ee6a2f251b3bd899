"""The keys of many indexers at once, into their caches: projected, normed, rotated, quantised.

A layer that reuses another's choice reads no key of its own in the same step, so all such layers' keys of a
step can be made together once the last of them has its input: two launches, as each layer by itself needs for
a few tokens.

Of each token's input x, in layers of their own weights:

    key = rope(layernorm(W x))                  the first 2 h of its dimensions rotated, in pairs (i, i + h),
                                                or (2 i, 2 i + 1)
    scale = 2 ^ ceil(log2(max |key| / 448))     a power of two
    stored: key / scale as fp8 (e4m3), and the scale as float32

DeepSeek-V3.2's lightning indexer (DeepSeek-AI, 2025), as vLLM keeps its keys: a block of the cache holds the
keys of its tokens, then their scales.
"""

from collections.abc import Sequence

import torch

from indexcache_kernels.index_keys.inputs import Indexer, Rope

__all__ = ["Indexer", "Rope", "check"]


def check(indexers: Sequence[Indexer]) -> None:
    """Raise ValueError, naming what is wrong, for indexers that neither the kernel nor the reference
    takes.
    """
    first = indexers[0]
    dim = first.norm_weight.shape[0]
    if dim & (dim - 1) or dim < 16:
        raise ValueError(f"norm_weight: {dim} dimensions; expected a power of two, at least 16")
    if first.weight.shape[1] % 8:
        raise ValueError(
            f"weight: {first.weight.shape[1]} inputs; expected a multiple of 8, which can be read at once"
        )
    if len({x.weight.data_ptr() for x in indexers}) < len(indexers):
        raise ValueError(
            "weight: indexers share one; expected each to have its own, in its place all the time"
        )
    for i, x in enumerate(indexers):
        if (
            x.weight.dtype != torch.bfloat16
            or x.weight.shape != first.weight.shape
            or not x.weight.is_contiguous()
        ):
            raise ValueError(
                f"weight of indexer {i}: {tuple(x.weight.shape)} {x.weight.dtype}; expected "
                f"{tuple(first.weight.shape)} bfloat16"
            )
        for name, norm in (("norm_weight", x.norm_weight), ("norm_bias", x.norm_bias)):
            if norm.shape != (dim,) or norm.dtype != torch.float32:
                raise ValueError(
                    f"{name} of indexer {i}: {tuple(norm.shape)} {norm.dtype}; expected ({dim},) float32"
                )
        if x.weight.data_ptr() % 16:
            raise ValueError(
                f"weight of indexer {i}: at {x.weight.data_ptr():#x}; expected a multiple of 16 bytes"
            )
        layout = x.cache.shape[1:], x.cache.stride()
        if (
            x.cache.dtype != torch.uint8
            or x.cache.shape[2] != dim + 4
            or layout != (first.cache.shape[1:], first.cache.stride())
        ):
            raise ValueError(
                f"cache of indexer {i}: {tuple(x.cache.shape)} {x.cache.dtype}; expected (blocks, tokens, "
                f"{dim + 4}) uint8"
            )

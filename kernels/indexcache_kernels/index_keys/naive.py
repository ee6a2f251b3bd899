"""The definition of what the kernel writes, in torch."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from indexcache_kernels.index_keys.inputs import Indexer, Rope

LARGEST = 448.0
"""Of fp8 e4m3."""


def index_keys_naive(
    indexers: Sequence[Indexer],
    hidden: Sequence[torch.Tensor],
    slots: Sequence[torch.Tensor],
    positions: torch.Tensor,
    rope: Rope,
) -> None:
    """Write the keys of some tokens into the caches of all indexers.

    hidden: each layer's (tokens, hidden) bfloat16, contiguous. slots: each layer's (tokens,) int64, the
    token's place in the cache, below zero if it has none. positions: (tokens,) int64. `check` says which
    indexers it takes.
    """
    for indexer, x, places in zip(indexers, hidden, slots, strict=True):
        dim, block = indexer.norm_weight.shape[0], indexer.cache.shape[1]
        key = (x.float() @ indexer.weight[:dim].float().T).to(torch.bfloat16).float()
        key = F.layer_norm(key, (dim,), indexer.norm_weight, indexer.norm_bias, rope.eps)
        key = rotated(key, positions, rope)
        scale = torch.exp2(torch.ceil(torch.log2(key.abs().amax(-1).clamp(min=1e-4) / LARGEST)))
        stored = (key / scale[:, None]).to(torch.float8_e4m3fn)
        for token, slot in enumerate(places.tolist()):
            if slot >= 0:
                flat = indexer.cache[slot // block].view(-1)
                at = slot % block
                flat[at * dim : (at + 1) * dim] = stored[token].view(torch.uint8)
                flat[block * dim + at * 4 : block * dim + at * 4 + 4] = scale[token : token + 1].view(
                    torch.uint8
                )


def rotated(key: torch.Tensor, positions: torch.Tensor, rope: Rope) -> torch.Tensor:
    """Return (tokens, dim) float32, the first dimensions of each rotated by its position."""
    cos, sin = rope.table[positions].float().chunk(2, dim=-1)  # [tokens, h]
    h = cos.shape[1]
    turned = key[:, : 2 * h]
    a, b = (turned[:, 0::2], turned[:, 1::2]) if rope.interleaved else (turned[:, :h], turned[:, h:])
    first, second = a * cos - b * sin, b * cos + a * sin
    whole = torch.stack([first, second], -1).flatten(1) if rope.interleaved else torch.cat([first, second], 1)
    return torch.cat([whole, key[:, 2 * h :]], 1)

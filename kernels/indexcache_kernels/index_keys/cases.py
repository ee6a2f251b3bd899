"""Inputs on which kernel and reference must agree, as far as fp8 tells: they sum up in other orders."""

from typing import NamedTuple

import torch

from indexcache_kernels.index_keys.inputs import Indexer, Rope

BLOCK = 64


class Case(NamedTuple):
    """Arguments of `index_keys_naive`."""

    indexers: list[Indexer]
    hidden: list[torch.Tensor]
    slots: list[torch.Tensor]
    positions: torch.Tensor
    rope: Rope

    def to(self, device: str) -> "Case":
        """Return the same case on a device, with caches of its own."""
        return Case(
            [
                Indexer(
                    x.weight.to(device),
                    x.norm_weight.to(device),
                    x.norm_bias.to(device),
                    x.cache.clone().to(device),
                )
                for x in self.indexers
            ],
            [x.to(device) for x in self.hidden],
            [x.to(device) for x in self.slots],
            self.positions.to(device),
            self.rope._replace(table=self.rope.table.to(device)),
        )


def case(
    tokens: int,
    *,
    layers: int = 3,
    hidden: int = 256,
    dim: int = 128,
    half: int = 32,
    interleaved: bool = False,
    seed: int = 0,
) -> Case:
    """Return random layers and tokens, some of which have no slot; what is in the caches is anything."""
    g = torch.Generator().manual_seed(seed)
    blocks = 2 * (tokens // BLOCK + 1)
    indexers = [
        Indexer(
            (torch.randn(dim + 4, hidden, generator=g) / hidden**0.5).bfloat16(),
            1 + 0.1 * torch.randn(dim, generator=g),
            0.1 * torch.randn(dim, generator=g),
            torch.randint(0, 120, (blocks, BLOCK, dim + 4), dtype=torch.uint8, generator=g),
        )
        for _ in range(layers)
    ]
    inputs = [torch.randn(tokens, hidden, generator=g).bfloat16() for _ in range(layers)]
    slots = [torch.randperm(blocks * BLOCK, generator=g)[:tokens] for _ in range(layers)]
    for s in slots:
        s[::5] = -1 if tokens > 1 else s[0]
    angles = torch.rand(1000, half, generator=g) * 6
    rope = Rope(torch.cat([angles.cos(), angles.sin()], 1), interleaved, 1e-6)
    return Case(indexers, inputs, slots, torch.randint(0, 1000, (tokens,), generator=g), rope)


def cases() -> dict[str, Case]:
    """Return all cases, by name, on the CPU."""
    plain, none = case(5, seed=8), case(5, seed=9)
    return {
        "5 tokens": case(5),
        "one token": case(1, seed=1),
        "16 tokens": case(16, seed=2),
        "70 tokens, more than a program takes": case(70, seed=3),
        "neighbours are pairs": case(5, interleaved=True, seed=4),
        "a hidden size that is no multiple of a block": case(7, hidden=200, seed=5),
        "many inputs, in parts": case(20, hidden=2048, seed=10),
        "many inputs, in parts, the last one not whole": case(5, hidden=2072, seed=11),
        "64 dimensions, all turned": case(5, dim=64, half=32, seed=6),
        "one layer": case(5, layers=1, seed=7),
        "a table in bfloat16": plain._replace(rope=plain.rope._replace(table=plain.rope.table.bfloat16())),
        "no tokens": Case(
            none.indexers,
            [x[:0] for x in none.hidden],
            [x[:0] for x in none.slots],
            none.positions[:0],
            none.rope,
        ),
    }


def held(cache: torch.Tensor) -> torch.Tensor:
    """Return the keys of all places of (blocks, tokens a block, dim + 4) uint8: (places, dim) float32."""
    flat, dim = cache.flatten(1), cache.shape[2] - 4
    values = flat[:, : cache.shape[1] * dim].reshape(-1, dim).view(torch.float8_e4m3fn).float()
    scales = flat[:, cache.shape[1] * dim :].contiguous().view(torch.float32).reshape(-1, 1)
    return values * scales


def written(c: Case) -> list[torch.Tensor]:
    """Return what stands in the caches for the case's tokens, in each layer: (tokens with a slot, dim)
    float32."""
    return [
        held(indexer.cache)[slots[slots >= 0]] for indexer, slots in zip(c.indexers, c.slots, strict=True)
    ]


def untouched(c: Case, before: Case) -> bool:
    """Return whether all else in the caches is as it was before."""
    for indexer, old, slots in zip(c.indexers, before.indexers, c.slots, strict=True):
        dim, size = indexer.norm_weight.shape[0], indexer.cache.shape[0] * BLOCK
        other = torch.ones(size, dtype=torch.bool, device=slots.device).index_fill_(
            0, slots[slots >= 0], False
        )
        both = indexer.cache.flatten(1), old.cache.flatten(1)
        parts = [(x[:, : BLOCK * dim].reshape(size, dim), x[:, BLOCK * dim :].reshape(size, 4)) for x in both]
        if not all(torch.equal(a[other], b[other]) for a, b in zip(*parts, strict=True)):
            return False
    return True

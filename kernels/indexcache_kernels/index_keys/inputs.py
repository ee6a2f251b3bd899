"""Describes what `index_keys` is given of the model: tensors that are in their place all the time."""

from typing import NamedTuple

import torch


class Indexer(NamedTuple):
    """The indexer of one layer."""

    weight: torch.Tensor
    """(dim or more, hidden) bfloat16, contiguous, hidden a multiple of 8; its first dim rows are the
    key's.
    """
    norm_weight: torch.Tensor
    """(dim,) float32"""
    norm_bias: torch.Tensor
    """(dim,) float32"""
    cache: torch.Tensor
    """(blocks, tokens a block, dim + 4) uint8, contiguous within a block; dim a power of two."""


class Rope(NamedTuple):
    """Says how all of them rotate."""

    table: torch.Tensor
    """(positions, 2 h) floats: cosines, then sines."""
    interleaved: bool
    """Pairs are neighbours."""
    eps: float
    """Of the norm before."""

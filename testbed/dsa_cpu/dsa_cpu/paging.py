"""Paged caches: where the rows of a step, and the positions of a context, are kept. Pure; a slot is block
number x block size + offset.
"""

import torch


def rows_of(starts: torch.Tensor, seq_lens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return request and position of every row of a step.

    starts: (requests + 1,) int64, first row of each request and the end. seq_lens: (requests,) int64,
    contexts with this step's tokens: a request's rows are the last of its context. Returns two (rows,) int64.
    """
    lengths = starts.diff()
    request = torch.repeat_interleave(torch.arange(len(seq_lens)), lengths)
    position = torch.arange(int(starts[-1])) - starts[request] + (seq_lens - lengths)[request]
    return request, position


def slots_of(block_table: torch.Tensor, seq_lens: torch.Tensor, block_size: int) -> torch.Tensor:
    """Return the slot of every position of every request, 0 beyond its context.

    block_table: (requests, blocks) integers; seq_lens: (requests,) int64. Returns (requests, longest context)
    int64.
    """
    position = torch.arange(int(seq_lens.max()) if len(seq_lens) else 0)
    blocks = block_table[:, position // block_size].long()
    return (blocks * block_size + position % block_size).masked_fill_(position >= seq_lens[:, None], 0)


def flat(cache: torch.Tensor) -> torch.Tensor:
    """Return a paged cache (blocks, block size, width) as (slots, width), without a copy. Raises RuntimeError
    if its layout forbids that.
    """
    return cache.view(-1, cache.shape[-1])


def write(cache: torch.Tensor, slot_mapping: torch.Tensor, rows: torch.Tensor) -> None:
    """Write rows (tokens, width) into a paged cache (blocks, block size, width) at the slots (tokens,); -1 is
    padding.
    """
    keep = slot_mapping >= 0
    flat(cache)[slot_mapping[keep].long()] = rows[: slot_mapping.shape[0]][keep].to(cache.dtype)

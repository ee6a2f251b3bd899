"""The k best positions of a row, exactly: among equal scores the earlier position wins.

Ties are real: where ReLU silences every head of the indexer, a score is 0 to the bit, for many positions at once. `torch.topk` breaks
ties as it likes, so a row whose k-th and next score are equal is sorted stably instead; for the others its choice is the only one.
"""

import torch

NEVER = float("-inf")


def topk_positions(scores: torch.Tensor, k: int) -> torch.Tensor:
    """Positions of the k best scores of each row.

    scores: (rows, positions) floats without NaN; -inf is no position. Returns (rows, k) int32: best first, -1 padded at the end where a
    row has fewer than k positions.
    """
    rows, n = scores.shape
    out = torch.full((rows, k), -1, dtype=torch.int32, device=scores.device)
    values, best = scores.topk(min(k + 1, n), dim=-1)
    out[:, :n] = best[:, :k].masked_fill(values[:, :k] == NEVER, -1)
    if n > k:
        tied = ((values[:, k - 1] == values[:, k]) & (values[:, k] > NEVER)).nonzero()[:, 0]
        if len(tied):
            out[tied] = scores[tied].sort(dim=-1, descending=True, stable=True).indices[:, :k].int()
    return out

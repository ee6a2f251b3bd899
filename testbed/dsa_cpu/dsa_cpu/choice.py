"""Defines what an indexer computes: scores of all earlier positions of a row, and the k best of them. Pure.

    score(t, s) = sum over heads h of w(t, h) * relu(q(t, h) . k(s))          DeepSeek-V3.2, arXiv 2512.02556,
                                                                              equation 1

Trap: ties are real. Where ReLU silences every head, a score is 0 to the bit, for many positions at once.
`torch.topk` breaks ties as it likes, so a row whose k-th and next score are equal is sorted stably instead,
the earlier position first; for the others there is only one right choice.
"""

import torch

NEVER = float("-inf")


def index_scores(
    q: torch.Tensor, keys: torch.Tensor, weights: torch.Tensor, position: torch.Tensor
) -> torch.Tensor:
    """Return index scores of rows that share their keys, or have keys of their own.

    q: (rows, heads, dim); keys: (positions, dim) or (rows, positions, dim); weights: (rows, heads), with all
    scales in them; position: (rows,) int64. Returns (rows, positions) float32, -inf after each row's own
    position.
    """
    q, keys, weights = q.float(), keys.float(), weights.float()
    n = keys.shape[-2]
    scores = q.new_zeros(q.shape[0], n)
    if keys.dim() == 2:
        for head in range(
            q.shape[1]
        ):  # one head at a time: (rows, heads, positions) is too large for long prefills
            scores.addcmul_((q[:, head] @ keys.T).relu_(), weights[:, head, None])
    else:
        dots = torch.bmm(q, keys.transpose(1, 2)).relu_()  # [rows, heads, positions]
        scores = torch.bmm(weights[:, None], dots)[:, 0]
    return scores.masked_fill_(torch.arange(n) > position[:, None], NEVER)


def topk_positions(scores: torch.Tensor, k: int) -> torch.Tensor:
    """Return the positions of the k best scores of each row.

    scores: (rows, positions) floats without NaN; -inf is no position. Returns (rows, k) int32: best first, -1
    padded at the end where a row has fewer than k positions.
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

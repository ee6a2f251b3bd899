"""The definition of `index_topk`, in torch."""

import torch


def index_scores(
    q: torch.Tensor, k: torch.Tensor, k_scale: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Return (rows, keys) float32 scores of all keys, whatever the rows' bounds. NaN scores are -inf."""
    scores = torch.zeros(q.shape[0], k.shape[0], device=q.device)
    keys = k.float().T
    for head in range(q.shape[1]):  # all heads at once would take that many times the memory
        dots = q[:, head].float() @ keys
        scores += (
            torch.fmax(dots, dots.new_zeros(())) * weights[:, head, None]
        )  # fmax: what is no number counts as 0
    scores *= k_scale
    return scores.masked_fill(scores.isnan(), float("-inf"))


def index_topk_naive(
    q: torch.Tensor,
    k: torch.Tensor,
    k_scale: torch.Tensor,
    weights: torch.Tensor,
    starts: torch.Tensor,
    ends: torch.Tensor,
    topk: int,
) -> torch.Tensor:
    """See `index_topk`, which checks the arguments."""
    places = torch.arange(k.shape[0], device=q.device)
    inside = (places >= starts[:, None]) & (places < ends[:, None])
    scores = index_scores(q, k, k_scale, weights)
    best = scores.masked_fill(~inside, float("-inf")).topk(topk, dim=1)
    return (best.indices - starts[:, None]).masked_fill(best.values == float("-inf"), -1).int()

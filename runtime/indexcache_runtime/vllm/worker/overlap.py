"""Measures how much of what an indexer would choose afresh the set that it reuses holds: overlap, and recall
of score mass, from its scores."""

import torch
from indexcache_kernels.reuse_overlap import reuse_overlap


def fresh_sets(scores: torch.Tensor, k: int) -> torch.Tensor:
    """Return the k best positions of each row: (rows, k) int32, -1 padded at the end; of equal scores the
    earlier position.

    scores: (rows, positions) float32, -inf where there is no position.
    """
    n = min(k, scores.shape[1])
    best = scores.sort(dim=-1, descending=True, stable=True)
    out = torch.full((scores.shape[0], k), -1, dtype=torch.int32, device=scores.device)
    out[:, :n] = best.indices[:, :n].masked_fill(best.values[:, :n] == float("-inf"), -1)
    return out


def compare(
    reused: torch.Tensor, fresh: torch.Tensor, scores: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return overlap and recall of each row, both (rows,) float32 in [0, 1]: see
    indexcache_kernels.reuse_overlap.

    reused, fresh: (rows, k) int32 positions, -1 padded, no fresh set empty; scores: (rows, positions)
    float32, all positions' own.
    """
    overlap, recall = reuse_overlap(reused, fresh, scores.gather(1, fresh.long().clamp(min=0)))
    assert recall is not None  # scores were given
    return overlap, recall

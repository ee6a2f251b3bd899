"""Measures how much of what an indexer would choose afresh is in the set that a Shared layer reuses.

Two measures of each query row, with R the reused set, F the fresh one and s the index scores of F's members:

    overlap = |R ∩ F| / |F|
    recall  = sum of softmax(s)_i over those i in F that are in R          the share of the score mass that R
                                                                           covers

Plain overlap counts every member alike, though most carry no weight; recall weighs them as the indexer does.
"""

import torch

from indexcache_kernels.reuse_overlap.naive import reuse_overlap_naive

__all__ = ["reuse_overlap"]


def reuse_overlap(
    reused: torch.Tensor, fresh: torch.Tensor, fresh_scores: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return overlap and recall of score mass of every row.

    reused, fresh: (rows, k) int32 or int64, positions in any order, -1 is padding and may stand anywhere; no
    position twice in a row. fresh_scores: (rows, k) floats, the index scores of `fresh`, place by place; what
    stands beside padding is not read. None: no recall.

    Returns overlap (rows,) float32, and recall (rows,) float32 or None. A row with no fresh position has no
    overlap: both are NaN there, and whoever calls drops such rows. Raises ValueError for shapes or dtypes
    other than these. On CUDA this is the kernel in CUDA C++, or the Triton kernel where NVRTC isn't there or
    k is very large; elsewhere the torch reference.
    """
    check(reused, fresh, fresh_scores)
    if reused.is_cuda:
        from indexcache_kernels.reuse_overlap import cuda

        if cuda.takes(reused):
            return cuda.reuse_overlap_cuda(reused, fresh, fresh_scores)
        from indexcache_kernels.reuse_overlap.triton import reuse_overlap_triton

        return reuse_overlap_triton(reused, fresh, fresh_scores)
    return reuse_overlap_naive(reused, fresh, fresh_scores)


def check(reused: torch.Tensor, fresh: torch.Tensor, fresh_scores: torch.Tensor | None) -> None:
    """Check the inputs; raise ValueError, naming the argument, for what `reuse_overlap` does not take."""
    if reused.dim() != 2:
        raise ValueError(f"reused: {reused.dim()} dimensions; expected 2, (rows, k)")
    for name, x in (("fresh", fresh), ("fresh_scores", fresh_scores)):
        if x is not None and (x.shape != reused.shape or x.device != reused.device):
            raise ValueError(
                f"{name}: {tuple(x.shape)} on {x.device}; expected {tuple(reused.shape)} on {reused.device}, "
                "like reused"
            )
    for name, x in (("reused", reused), ("fresh", fresh)):
        if x.dtype not in (torch.int32, torch.int64):
            raise ValueError(f"{name}: {x.dtype}; expected int32 or int64")
    if fresh_scores is not None and not fresh_scores.is_floating_point():
        raise ValueError(f"fresh_scores: {fresh_scores.dtype}; expected a floating dtype")

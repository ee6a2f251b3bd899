"""The keys that each row of a prefill attends to: DeepSeek-V3.2's lightning indexer (DeepSeek-AI, 2025),
scores and choice in one.

    score[i, j] = scale[j] * sum over heads h of weight[i, h] * relu(q[i, h] . k[j])

Of each row the topk keys of the highest scores between its bounds. Which of several equal scores is chosen is
open. A key whose score is -inf or not a number is never chosen; a product q . k that is not a number counts
as 0.
"""

import torch

from indexcache_kernels.index_topk import cuda
from indexcache_kernels.index_topk.naive import index_topk_naive

__all__ = ["check", "index_topk"]

LARGEST = 2048
"""topk at most: twice as many candidates of a row are held in registers at once."""


def index_topk(
    q: torch.Tensor,
    k: torch.Tensor,
    k_scale: torch.Tensor,
    weights: torch.Tensor,
    starts: torch.Tensor,
    ends: torch.Tensor,
    topk: int,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the chosen keys, (rows, topk) int32, counted from each row's start, in any order; -1 fills up
    rows with fewer.

    q: (rows, heads, dim) float8_e4m3fn, heads and dim powers of two, at most 128, at least 16 and 32. k:
    (keys, dim) float8_e4m3fn. k_scale: (keys,) float32. weights: (rows, heads) float32. starts, ends: (rows,)
    int32, each row's first key and the one after its last; what lies outside of the keys is left out. topk:
    at most LARGEST, and at most as many as there are keys. All contiguous and on one device. out: where they
    go, of any strides. Raises ValueError, naming the argument, for others. On Hopper, with 32 or 64 heads of
    128, this is the CUDA C++ kernel, on other CUDA devices and shapes the Triton kernel, elsewhere the torch
    reference.
    """
    check(q, k, k_scale, weights, starts, ends, topk)
    if out is not None:
        _check_out(out, q, topk)
    given = q, k, k_scale, weights, starts, ends, topk
    if not q.is_cuda:
        found = index_topk_naive(*given)
    elif cuda.takes(q, k):
        found = cuda.index_topk_cuda(*given, out=out if out is not None and out.is_contiguous() else None)
    else:
        from indexcache_kernels.index_topk.triton import index_topk_triton

        found = index_topk_triton(*given)
    return found if out is None or out is found else out.copy_(found)


def _check_out(out: torch.Tensor, q: torch.Tensor, topk: int) -> None:
    if out.shape != (q.shape[0], topk) or out.dtype != torch.int32:
        raise ValueError(f"out: {tuple(out.shape)} {out.dtype}; expected {(q.shape[0], topk)} torch.int32")
    if out.device != q.device:
        raise ValueError(f"out: on {out.device}; expected {q.device}, like q")


def check(
    q: torch.Tensor,
    k: torch.Tensor,
    k_scale: torch.Tensor,
    weights: torch.Tensor,
    starts: torch.Tensor,
    ends: torch.Tensor,
    topk: int,
) -> None:
    """Check the inputs; raise ValueError, naming the argument, for what `index_topk` does not take."""
    if q.dim() != 3:
        raise ValueError(f"q: {q.dim()} dimensions; expected 3, (rows, heads, dim)")
    if k.dim() != 2:
        raise ValueError(f"k: {k.dim()} dimensions; expected 2, (keys, dim)")
    (rows, heads, dim), keys = q.shape, k.shape[0]
    for name, size, least in (("heads", heads, 16), ("dim", dim, 32)):
        if size & (size - 1) or not least <= size <= 128:
            raise ValueError(f"q: {size} {name}; expected a power of two from {least} to 128")
    for name, x, shape, dtype in (
        ("q", q, (rows, heads, dim), torch.float8_e4m3fn),
        ("k", k, (keys, dim), torch.float8_e4m3fn),
        ("k_scale", k_scale, (keys,), torch.float32),
        ("weights", weights, (rows, heads), torch.float32),
        ("starts", starts, (rows,), torch.int32),
        ("ends", ends, (rows,), torch.int32),
    ):
        if x.shape != shape or x.dtype != dtype:
            raise ValueError(f"{name}: {tuple(x.shape)} {x.dtype}; expected {shape} {dtype}")
        if x.device != q.device:
            raise ValueError(f"{name}: on {x.device}; expected {q.device}, like q")
        if not x.is_contiguous():
            raise ValueError(f"{name}: strides {x.stride()}; expected it contiguous")
    if not 1 <= topk <= min(keys, LARGEST):
        raise ValueError(f"topk: {topk}; expected 1 to {min(keys, LARGEST)}, with {keys} keys")

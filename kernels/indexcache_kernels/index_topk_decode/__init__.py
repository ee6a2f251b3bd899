"""The keys that single query rows attend to, over keys in a paged cache: DeepSeek-V3.2's lightning indexer
for rows that are decoded, scores and choice in one.

    score[i, j] = scale[j] * sum over heads h of weight[i, h] * relu(q[i, h] . k[j])

Of each row the topk keys of the highest scores. Which of several equal scores is chosen is open. A key whose
score is -inf or not a number is never chosen; a product q . k that is not a number counts as 0.
"""

import torch

from indexcache_kernels.index_topk_decode import cuda
from indexcache_kernels.index_topk_decode.naive import index_topk_decode_naive
from indexcache_kernels.index_topk_decode.workspace import Workspace

__all__ = ["Workspace", "check", "index_topk_decode"]


def index_topk_decode(
    q: torch.Tensor,
    cache: torch.Tensor,
    weights: torch.Tensor,
    lengths: torch.Tensor,
    table: torch.Tensor,
    topk: int,
    workspace: Workspace,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the chosen positions, (rows, topk) int32, in any order; -1 fills up rows with fewer.

    q: (rows, heads, dim) float8_e4m3fn, contiguous. cache: (pages, page, dim + 4) uint8, contiguous within a
    page, which holds the keys of all its tokens, then a float32 scale of each. weights: (rows, heads)
    float32, contiguous. lengths: (rows,) int32, the keys of each row; beyond the workspace's they are left
    out. table: (requests, ...) int32, the pages of each request's keys; as many rows of each request follow
    each other. workspace: made for so many rows or more; not
    used by two calls at once. out: (rows, topk) int32, its rows contiguous, to be filled and returned. Raises
    ValueError, naming the argument, for others. On Hopper, with 32 or 64 heads of 128 and pages of 64, this
    is the CUDA C++ kernel, elsewhere the torch reference.
    """
    check(q, cache, weights, lengths, table, topk, workspace)
    if out is None:
        out = torch.empty((q.shape[0], topk), dtype=torch.int32, device=q.device)
    elif out.shape != (q.shape[0], topk) or out.dtype != torch.int32 or out.stride(1) != 1:
        raise ValueError(
            f"out: {tuple(out.shape)} {out.dtype}, strides {out.stride()}; expected {(q.shape[0], topk)} "
            "torch.int32, its rows contiguous"
        )
    if q.is_cuda and cuda.takes(q, cache):
        return cuda.index_topk_decode_cuda(q, cache, weights, lengths, table, topk, workspace, out)
    return out.copy_(index_topk_decode_naive(q, cache, weights, lengths, table, topk, workspace.keys))


def check(
    q: torch.Tensor,
    cache: torch.Tensor,
    weights: torch.Tensor,
    lengths: torch.Tensor,
    table: torch.Tensor,
    topk: int,
    workspace: Workspace,
) -> None:
    """Check the inputs; raise ValueError, naming the argument, for what `index_topk_decode` does not take."""
    if q.dim() != 3:
        raise ValueError(f"q: {q.dim()} dimensions; expected 3, (rows, heads, dim)")
    rows, heads, dim = q.shape
    if cache.dim() != 3 or cache.shape[2] != dim + 4 or cache.dtype != torch.uint8:
        raise ValueError(
            f"cache: {tuple(cache.shape)} {cache.dtype}; expected (pages, page, {dim + 4}) torch.uint8"
        )
    if cache.stride()[1:] != (dim + 4, 1):
        raise ValueError(f"cache: strides {cache.stride()}; expected it contiguous within a page")
    for name, x, shape, dtype in (
        ("q", q, (rows, heads, dim), torch.float8_e4m3fn),
        ("weights", weights, (rows, heads), torch.float32),
        ("lengths", lengths, (rows,), torch.int32),
    ):
        if x.shape != shape or x.dtype != dtype or not x.is_contiguous():
            found = f"{tuple(x.shape)} {x.dtype}, strides {x.stride()}"
            raise ValueError(f"{name}: {found}; expected {shape} {dtype}, contiguous")
    _check_table(table, rows)
    for name, x in (("cache", cache), ("weights", weights), ("lengths", lengths), ("table", table)):
        if x.device != q.device:
            raise ValueError(f"{name}: on {x.device}; expected {q.device}, like q")
    if topk < 1:
        raise ValueError(f"topk: {topk}; expected 1 at least")
    if rows > workspace.rows:
        raise ValueError(f"workspace: of {workspace.rows} rows; expected {rows} at least")


def _check_table(table: torch.Tensor, rows: int) -> None:
    requests = table.shape[0] if table.dim() == 2 else 0
    shared_out = rows == 0 or (requests and rows % requests == 0)
    if table.dim() != 2 or not shared_out or table.dtype != torch.int32 or table.stride(1) != 1:
        raise ValueError(
            f"table: {tuple(table.shape)} {table.dtype}, strides {table.stride()}; expected (requests, "
            f"pages) torch.int32, its rows contiguous, for {rows} rows in equal shares"
        )

"""The definition of `index_topk_decode`, in torch."""

import torch

from indexcache_kernels.index_topk.naive import index_topk_naive


def gathered(cache: torch.Tensor, pages: torch.Tensor, keys: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the keys on these pages, (keys, dim) float8_e4m3fn, and their scales, (keys,) float32."""
    size, dim = cache.shape[1], cache.shape[2] - 4
    flat = cache[pages.long()].reshape(len(pages), -1)
    values = flat[:, : size * dim].reshape(-1, dim).view(torch.float8_e4m3fn)
    scales = flat[:, size * dim :].contiguous().view(torch.float32).reshape(-1)
    return values[:keys].contiguous(), scales[:keys].contiguous()


def index_topk_decode_naive(
    q: torch.Tensor,
    cache: torch.Tensor,
    weights: torch.Tensor,
    lengths: torch.Tensor,
    table: torch.Tensor,
    topk: int,
    keys: int,
) -> torch.Tensor:
    """See `index_topk_decode`, which checks the arguments. keys: of a row at most."""
    out = torch.full((q.shape[0], topk), -1, dtype=torch.int32, device=q.device)
    for row, given in enumerate(lengths.tolist()):
        length = min(given, keys)
        if length <= 0:
            continue
        pages = table[row * table.shape[0] // q.shape[0]]
        k, scale = gathered(cache, pages[: -(-length // cache.shape[1])], length)
        start, end = torch.tensor([[0], [length]], dtype=torch.int32, device=q.device)
        most = min(topk, length)
        one = slice(row, row + 1)
        out[row, :most] = index_topk_naive(q[one], k, scale, weights[one], start, end, most)[0]
    return out

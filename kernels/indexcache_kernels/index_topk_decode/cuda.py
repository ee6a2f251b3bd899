"""`index_topk_decode` in CUDA C++ for Hopper: what is read is all that takes time, so every multiprocessor
reads pages as fast as it can, and the choice among scores is shared out as well. kernel.cu says how.
"""

from functools import cache as once
from pathlib import Path

import torch

from indexcache_kernels.cuda_source import Kernel, available, tensor_map
from indexcache_kernels.index_topk_decode.workspace import BINS, Workspace

SOURCE = Path(__file__).with_name("kernel.cu")
HEADS, DIM, PAGE = (32, 64), 128, 64
THREADS, GROUPS, STAGES = 512, 4, 4
"""As in kernel.cu: threads of a block, in both launches; in the first, groups of them, and pages that each
has in shared memory."""
BLOCKS = 8
"""As in kernel.cu: of a row in the second launch."""


def runs(device: torch.device, heads: int, dim: int, page: int) -> bool:
    """Return whether this form runs on a device, for so many heads of so many dimensions and such pages."""
    hopper = torch.cuda.get_device_capability(device) == (9, 0)
    return hopper and heads in HEADS and (dim, page) == (DIM, PAGE) and available()


def takes(q: torch.Tensor, cache: torch.Tensor) -> bool:
    """Return whether this form takes queries and a cache of these shapes, where they lie."""
    aligned = q.data_ptr() % 16 == cache.data_ptr() % 16 == cache.stride(0) % 16 == 0
    return aligned and runs(q.device, q.shape[1], q.shape[2], cache.shape[1])


FEW = 8
"""Rows up to which the blocks of the second launch are alone on their multiprocessors, and may take as many
registers as they like."""


@once
def kernel(name: str, heads: int, few: bool) -> Kernel:
    """Return one of the two compiled kernels. few: for FEW rows at most."""
    reads = {"AT_ONCE": 14 if few else 8, "READ_FIRST": int(few)}
    return Kernel(SOURCE, name, "sm_90a", {"HEADS": heads, "STAGES": STAGES} | reads)


def index_topk_decode_cuda(
    q: torch.Tensor,
    cache: torch.Tensor,
    weights: torch.Tensor,
    lengths: torch.Tensor,
    table: torch.Tensor,
    topk: int,
    workspace: Workspace,
    out: torch.Tensor,
) -> torch.Tensor:
    """See `index_topk_decode`, which checks the arguments, and `takes`."""
    rows, heads, dim = q.shape
    if not rows:
        return out
    page = cache.stride(0)
    many = torch.cuda.get_device_properties(q.device).multi_processor_count
    few = rows <= FEW
    with torch.cuda.device(q.device):
        m_q = tensor_map(q.data_ptr(), [dim, rows * heads], [dim], [dim, heads])
        m_k = tensor_map(cache.data_ptr(), [dim, PAGE, cache.shape[0]], [dim, page], [dim, PAGE, 1])
        shared = GROUPS * STAGES * PAGE * (dim + 4) + heads * dim + 4 * BINS + 2048
        kernel("scores", heads, False).launch(
            (max(1, many // rows), rows),
            THREADS,
            shared,
            [
                m_q,
                m_k,
                cache,
                weights,
                lengths,
                table,
                workspace.scores,
                workspace.bins,
                table.stride(0),
                workspace.keys,
                page,
                rows // table.shape[0],
            ],
            early=True,
        )
        kernel("choose", heads, few).launch(
            (BLOCKS, rows),
            THREADS,
            0,
            [workspace.scores, lengths, workspace.bins, out, workspace.keys, topk, out.stride(0)],
            early=True,
        )
    return out

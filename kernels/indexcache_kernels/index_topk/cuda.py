"""`index_topk` in CUDA C++ for Hopper's matrix products and memory accelerator; of the scores only candidates
leave the chip.

A sample of the keys gives each row a guess of a bound, which little more than topk keys reach. What is chosen
doesn't depend on it: kernel.cu says how.
"""

import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from indexcache_kernels.cuda_source import Kernel, available, tensor_map

SOURCE = Path(__file__).with_name("kernel.cu")
HEADS, DIM = (32, 64), 128
THREADS, GROUPS, COLUMNS, KEYS, CAPACITY = 512, 4, 128, 128, 4096
"""As in kernel.cu: threads of a block, groups of them, what a group multiplies at once, keys of a stage,
candidates of a list."""
CAUTION = 5.0
"""Standard deviations of the number of keys that reach the guess, by which more than topk are asked for."""


class Plan(NamedTuple):
    """Says how the kernel is compiled."""

    stride: int = 33
    """Of how many keys one is in the sample: odd, so that no layout of blocks has its period."""
    stages: int = 8
    """Of KEYS keys in shared memory, a power of two."""
    ahead: int = 4
    """Stages that are fetched ahead."""


def runs(device: torch.device, heads: int, dim: int) -> bool:
    """Return whether this form runs on a device, for so many heads of so many dimensions."""
    hopper = torch.cuda.get_device_capability(device) == (9, 0)
    return hopper and heads in HEADS and dim == DIM and available()


def takes(q: torch.Tensor, k: torch.Tensor) -> bool:
    """Return whether this form takes queries and keys of these shapes, where they lie."""
    _, heads, dim = q.shape
    return q.data_ptr() % 16 == k.data_ptr() % 16 == 0 and runs(q.device, heads, dim)


@cache
def kernel(heads: int, plan: Plan) -> Kernel:
    """Return the compiled kernel."""
    defines: dict[str, int | str] = {
        "HEADS": heads,
        "STRIDE": plan.stride,
        "STAGES": plan.stages,
        "AHEAD": plan.ahead,
    }
    return Kernel(SOURCE, "index_topk", "sm_90a", defines)


def rows_of(address: int, rows: int, apart: int) -> Any:
    """Return the map of a matrix of bytes, DIM a row, of which 128 rows are fetched at once.

    apart: bytes from a row to the next, a multiple of 16.
    """
    return tensor_map(address, [DIM, rows], [apart], [DIM, KEYS])


def rank_of(topk: int, stride: int) -> int:
    """Return how many keys of the sample are to reach the guess, so that topk of all do nearly always."""
    share = topk / stride
    return math.ceil(share + CAUTION * math.sqrt(share))


def index_topk_cuda(
    q: torch.Tensor,
    k: torch.Tensor,
    k_scale: torch.Tensor,
    weights: torch.Tensor,
    starts: torch.Tensor,
    ends: torch.Tensor,
    topk: int,
    plan: Plan = Plan(),  # noqa: B008  # immutable
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """See `index_topk`, which checks the arguments, and `takes`. out: (rows, topk) int32, contiguous, to be
    filled and returned."""
    (rows, heads, dim), keys = q.shape, k.shape[0]
    if out is None:
        out = torch.empty((rows, topk), dtype=torch.int32, device=q.device)
    if not rows:
        return out
    each = 2 * COLUMNS // heads
    many = torch.cuda.get_device_properties(q.device).multi_processor_count
    blocks = min(many, -(-rows // each))
    lists = torch.empty((blocks, GROUPS, COLUMNS // heads, CAPACITY), dtype=torch.int64, device=q.device)
    with torch.cuda.device(q.device):
        maps = (
            rows_of(q.data_ptr(), rows * heads, dim),
            rows_of(k.data_ptr(), keys, dim),
            rows_of(k.data_ptr(), -(-keys // plan.stride), dim * plan.stride),
        )
        shared = plan.stages * KEYS * DIM + each * heads * DIM + 1024
        kernel(heads, plan).launch(
            blocks,
            THREADS,
            shared,
            [*maps, k_scale, weights, starts, ends, lists, out, rows, keys, topk, rank_of(topk, plan.stride)],
        )
    return out

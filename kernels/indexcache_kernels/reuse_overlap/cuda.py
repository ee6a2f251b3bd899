"""`reuse_overlap` in CUDA C++: one pass over each set, with the reused one in shared memory."""

from functools import cache
from pathlib import Path

import torch

from indexcache_kernels.cuda_source import Kernel, available

LARGEST = 8192
"""k at most: more would not fit into registers and shared memory."""
THREADS = 256
BIT_BYTES = 32 * 1024
"""Of shared memory for positions as bits."""
SOURCE = Path(__file__).with_name("kernel.cu")


def takes(reused: torch.Tensor) -> bool:
    """Return whether this form takes a set of this shape on this device."""
    return available() and 0 < reused.shape[1] <= LARGEST and reused.shape[0] > 0


@cache
def kernel(
    k: int, long: bool, vector: int, scores: bool, capability: tuple[int, int]
) -> tuple[Kernel, int, int]:
    """Return the kernel for sets of a size; its threads, and its bytes of shared memory."""
    threads = min(THREADS, max(32, 1 << (k // vector - 1).bit_length()))
    bits = (k - 1).bit_length() + 1
    defines = {
        "POSITION": "long long" if long else "int",
        "VECTOR": vector,
        "GROUPS": -(-k // (threads * vector)),
        "THREADS": threads,
        "BITS": bits,
        "SCORES": int(scores),
    }
    architecture = "sm_{}{}".format(*capability)
    shared = max(BIT_BYTES, (8 if long else 4) << bits)
    return Kernel(SOURCE, "reuse_overlap", architecture, defines), threads, shared


def reuse_overlap_cuda(
    reused: torch.Tensor, fresh: torch.Tensor, fresh_scores: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """See `reuse_overlap`, which checks the arguments, and `takes`."""
    rows, k = reused.shape
    long = torch.int64 in (reused.dtype, fresh.dtype)
    of = torch.int64 if long else torch.int32
    reused, fresh = reused.to(of).contiguous(), fresh.to(of).contiguous()
    scores = None if fresh_scores is None else fresh_scores.float().contiguous()
    given = [x for x in (reused, fresh, scores) if x is not None]
    vector = 4 if k % 4 == 0 and all(x.data_ptr() % (32 if long else 16) == 0 for x in given) else 1
    overlap = torch.empty(rows, dtype=torch.float32, device=reused.device)
    recall = None if scores is None else torch.empty_like(overlap)
    with torch.cuda.device(reused.device):
        program, threads, shared = kernel(
            k, long, vector, scores is not None, torch.cuda.get_device_capability()
        )
        program.launch(
            rows,
            threads,
            shared,
            [
                reused,
                fresh,
                fresh if scores is None else scores,
                overlap,
                overlap if recall is None else recall,
                k,
            ],
        )
    return overlap, recall

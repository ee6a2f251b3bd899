"""index_topk beside vLLM's own path: its logits kernel and its top-k, in chunks of rows that fit its
buffer.
"""

from collections.abc import Callable
from functools import cache

import torch
from indexcache_kernels.index_topk.cases import Case, adversarial, case, errors
from indexcache_kernels.index_topk.cuda import Plan, index_topk_cuda
from indexcache_kernels.index_topk.triton import Tiles, index_topk_triton

from benchmarks import recorded_scores

TOPK, ROWS, HEADS, DIM = 2048, 16_384, 32, 128
LENGTHS = {"200k": 200_000, "120k": 122_880, "60k": 61_440, "16k": 16_384}
VARIANTS: dict[str, Plan | Tiles] = {
    "CUDA C++, a sample of 1 in 33": Plan(),
    "CUDA C++, a sample of 1 in 17": Plan(stride=17),
    "CUDA C++, a sample of 1 in 25, 3 stages ahead": Plan(stride=25, ahead=3),
    "Triton, 64 x 128, segments of 512, 2 residents": Tiles(segment=512, residents=2, registers=None),
}
ALIKE = 1e-5
"""Of the row's largest score: sums in another order differ by less."""


def prompt(length: int) -> Case:
    """Return the last ROWS rows of a prompt of so many tokens, at random."""
    g = torch.Generator("cuda").manual_seed(length)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g, device="cuda")

    return Case(
        normal(ROWS, HEADS, DIM).to(torch.float8_e4m3fn),
        normal(length, DIM).to(torch.float8_e4m3fn),
        normal(length).abs() + 0.5,
        normal(ROWS, HEADS),
        torch.zeros(ROWS, dtype=torch.int32, device="cuda"),
        torch.arange(length - ROWS, length, dtype=torch.int32, device="cuda") + 1,
        TOPK,
    )


def compiled(name: str) -> str:
    """Compile a kernel, in a process of its own: many at once. Its name again."""
    ours(case(8, 4096, TOPK, device="cuda"), name)
    torch.cuda.synchronize()
    return name


def ours(c: Case, name: str) -> torch.Tensor:
    """Return the choice of one of the variants."""
    plan = VARIANTS[name]
    return index_topk_cuda(*c, plan) if isinstance(plan, Plan) else index_topk_triton(*c, plan)


def logits(c: Case) -> torch.Tensor:
    """Return DeepGEMM's logits, as vLLM asks for them: (rows, keys or more) float32, each row from its start
    on."""
    from vllm.utils.deep_gemm import fp8_fp4_mqa_logits

    found: torch.Tensor = fp8_fp4_mqa_logits(
        (c.q, None), (c.k, c.k_scale), c.weights, c.starts, c.ends, c.k.shape[0]
    )
    return found


def vllm(c: Case, megabytes: int) -> torch.Tensor:
    """Return vLLM's choice, with VLLM_SPARSE_INDEXER_MAX_LOGITS_MB of so much."""
    top_k = custom_ops()
    out = torch.full((c.q.shape[0], c.topk), -1, dtype=torch.int32, device="cuda")
    pieces = out.split(size(c, megabytes))  # type: ignore[no-untyped-call]
    for part, chosen in zip(chunks(c, megabytes), pieces, strict=True):
        found = logits(part)
        ends = part.ends - part.starts
        top_k(
            found,
            torch.zeros_like(ends),
            ends,
            chosen,
            found.shape[0],
            found.stride(0),
            found.stride(1),
            c.topk,
        )
    return out


def size(c: Case, megabytes: int) -> int:
    """Return how many rows a chunk has."""
    return max(1, megabytes * 2**20 // 4 // c.k.shape[0])


def chunks(c: Case, megabytes: int) -> list[Case]:
    """Return a case's rows, in parts."""
    n = size(c, megabytes)
    parts = zip(*(x.split(n) for x in (c.q, c.weights, c.starts, c.ends)), strict=True)  # type: ignore[no-untyped-call]
    return [c._replace(q=q, weights=w, starts=s, ends=e) for q, w, s, e in parts]


@cache
def custom_ops() -> Callable[..., None]:
    """Return vLLM's top-k."""
    from vllm import _custom_ops

    found: Callable[..., None] = _custom_ops.top_k_per_row_prefill
    return found


def unlike(name: str) -> dict[str, int]:
    """Return a variant's errors over exact and recorded cases, by case: 0 unless the choice is wrong."""
    plain = case(48, 30_000, TOPK, seed=7, device="cuda")
    every = {
        "random": plain,
        "causal from the first key on": plain._replace(ends=torch.arange(48, device="cuda").int() * 99 + 1),
    }
    exact = {what: errors(x, ours(x, name)) for what, x in {**every, **adversarial(plain)}.items()}
    return exact | {
        what: recorded_scores.below(x, ours(x.to("cuda"), name).cpu())
        for what, x in recorded_scores.cases().items()
    }


def against_logits(c: Case, name: str) -> dict[str, int]:
    """Count, of 512 rows of a prompt: members that DeepGEMM's scores put below the last of the best, by more
    than the order of sums can; members that vLLM's set lacks; places without a member, or with one that is
    there twice.
    """
    part = c._replace(
        q=c.q[-512:].contiguous(),
        weights=c.weights[-512:].contiguous(),
        starts=c.starts[-512:],
        ends=c.ends[-512:],
    )
    scores, found, theirs = logits(part), ours(part, name).long(), vllm(part, 512).long()
    outside = torch.arange(scores.shape[1], device="cuda") >= part.ends[:, None]
    scores = scores.masked_fill(outside, float("-inf"))
    best = scores.topk(c.topk, dim=1).values
    least = best[:, -1:] - ALIKE * best[:, :1].abs()
    ordered = found.sort(dim=1).values
    mine, other = (
        torch.zeros_like(scores, dtype=torch.bool).scatter_(1, x.clamp(min=0), True) for x in (found, theirs)
    )
    return {
        "below": int((scores.gather(1, found.clamp(min=0)) < least).sum()),
        "unlike vLLM's": int((mine & ~other).sum()),
        "missing": int((found < 0).sum() + (ordered[:, 1:] == ordered[:, :-1]).sum()),
    }

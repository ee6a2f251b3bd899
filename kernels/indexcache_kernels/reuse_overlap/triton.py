"""`reuse_overlap` in Triton: every fresh position compared with every reused one, a row split over several
programs.

Some tens of rows don't fill a GPU, so each program takes a block of one row's fresh positions, reads all of
the row's scores for itself (a row of 2,048 is 8 KB, and stays in the cache) and writes what its block adds to
the row's two measures; their sum over blocks is taken in a fixed order, so equal inputs give equal bits.

Prefixes: p_ pointer, b_ block of values, o_ offsets, i_ index, m_ mask.
"""

import torch
import triton
import triton.language as tl


@triton.jit(do_not_specialize=["rows"])  # type: ignore[untyped-decorator]  # one row must not compile a kernel of its own
def reuse_overlap_kernel(  # type: ignore[no-untyped-def]
    p_reused,  # [R, k] int32 or int64
    p_fresh,  # [R, k] int32 or int64
    p_scores,  # [R, k] float32, float16 or bfloat16; not read without HAS_SCORES
    p_parts,  # [2, R, blocks] float32: what each block adds to overlap and recall
    k,
    rows,
    HAS_SCORES: tl.constexpr,
    ROW: tl.constexpr,  # k, rounded up to a power of two
    BF: tl.constexpr,
    BR: tl.constexpr,
):
    i_row = tl.program_id(0).to(tl.int64)
    i_block = tl.program_id(1)
    blocks = tl.num_programs(1)
    o_row = i_row * k

    o_all = tl.arange(0, ROW)
    m_all = tl.load(p_fresh + o_row + o_all, mask=o_all < k, other=-1) >= 0
    size = tl.sum(m_all.to(tl.float32), axis=0)

    o_f = i_block * BF + tl.arange(0, BF)
    b_fresh = tl.load(p_fresh + o_row + o_f, mask=o_f < k, other=-1)  # [BF]
    m_valid = b_fresh >= 0
    b_found = tl.zeros([BF, BR], dtype=tl.int32)
    for i_r in range(0, k, BR):
        o_r = i_r + tl.arange(0, BR)
        b_reused = tl.load(p_reused + o_row + o_r, mask=o_r < k, other=-1)  # [BR]
        b_found |= (b_fresh[:, None] == b_reused[None, :]).to(tl.int32)  # one reduction, after the loop
    m_member = (tl.max(b_found, axis=1) > 0) & m_valid

    nan = float("nan")
    members = tl.sum(m_member.to(tl.float32), axis=0)
    tl.store(p_parts + i_row * blocks + i_block, tl.where(size > 0, members / tl.maximum(size, 1.0), nan))
    if HAS_SCORES:
        b_all = tl.load(p_scores + o_row + o_all, mask=m_all, other=float("-inf")).to(tl.float32)
        highest = tl.max(b_all, axis=0)
        base = tl.where(
            highest == float("-inf"), 0.0, highest
        )  # no valid position: exp(-inf - 0) is 0, where -inf - -inf is NaN
        mass = tl.sum(tl.exp(b_all - base), axis=0)
        b_scores = tl.load(p_scores + o_row + o_f, mask=m_member, other=float("-inf")).to(tl.float32)
        covered = tl.sum(tl.exp(b_scores - base), axis=0)
        tl.store(
            p_parts + (rows + i_row) * blocks + i_block,
            tl.where(mass > 0, covered / tl.where(mass > 0, mass, 1.0), nan),
        )


def reuse_overlap_triton(
    reused: torch.Tensor, fresh: torch.Tensor, fresh_scores: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """See `reuse_overlap`, which checks the arguments. k^2 comparisons a row, none of which leaves the
    chip.
    """
    rows, k = reused.shape
    if not rows or not k:
        nothing = torch.full((rows,), torch.nan, device=reused.device)
        return nothing, None if fresh_scores is None else nothing.clone()
    scores = None if fresh_scores is None else fresh_scores.contiguous()
    if scores is not None and scores.dtype == torch.float64:
        scores = scores.float()
    row = triton.next_power_of_2(k)
    block = max(16, min(128, row))
    blocks = triton.cdiv(k, block)
    parts = torch.empty((2, rows, blocks), dtype=torch.float32, device=reused.device)
    reuse_overlap_kernel[(rows, blocks)](
        reused.contiguous(),
        fresh.contiguous(),
        parts if scores is None else scores,
        parts,
        k,
        rows,
        HAS_SCORES=scores is not None,
        ROW=row,
        BF=block,
        BR=min(block, 32),
    )
    overlap, recall = parts.sum(-1) if scores is not None else (parts[0].sum(-1), None)
    return overlap, recall

"""`reuse_overlap` in Triton: a first form, one program a row, every fresh position compared with every reused one.

Measured on an H100 with 32 rows: 56 us at k = 64, where the torch reference takes 326; 446 us at k = 2,048, where it takes 313, since
k^2 comparisons by one program a row then cost more than sorting.

The softmax is taken in one pass over blocks of fresh positions, with a running maximum (Milakov and Gimelshein, arXiv 1805.02867).
Prefixes: p_ pointer, b_ block of values, o_ offsets, i_ index, m_ mask.
"""

import torch
import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def reuse_overlap_kernel(  # type: ignore[no-untyped-def]
    p_reused,  # [R, k] int32 or int64
    p_fresh,  # [R, k] int32 or int64
    p_scores,  # [R, k] float32, float16 or bfloat16; not read without HAS_SCORES
    p_overlap,  # [R] float32
    p_recall,  # [R] float32; not written without HAS_SCORES
    k,
    HAS_SCORES: tl.constexpr,
    BF: tl.constexpr,
    BR: tl.constexpr,
):
    i_row = tl.program_id(0).to(tl.int64)
    o_row = i_row * k

    members = 0.0
    size = 0.0
    highest = float("-inf")
    mass = 0.0
    covered = 0.0
    for i_f in range(0, k, BF):
        o_f = i_f + tl.arange(0, BF)
        m_f = o_f < k
        b_fresh = tl.load(p_fresh + o_row + o_f, mask=m_f, other=-1)  # [BF]
        m_valid = b_fresh >= 0
        b_found = tl.zeros([BF], dtype=tl.int32)
        for i_r in range(0, k, BR):
            o_r = i_r + tl.arange(0, BR)
            b_reused = tl.load(p_reused + o_row + o_r, mask=o_r < k, other=-1)  # [BR]
            b_same = (b_fresh[:, None] == b_reused[None, :]).to(tl.int32)  # [BF, BR]
            b_found = tl.maximum(b_found, tl.max(b_same, axis=1))
        m_member = (b_found > 0) & m_valid
        members += tl.sum(m_member.to(tl.float32), axis=0)
        size += tl.sum(m_valid.to(tl.float32), axis=0)

        if HAS_SCORES:
            b_scores = tl.load(p_scores + o_row + o_f, mask=m_f, other=float("-inf")).to(tl.float32)
            b_scores = tl.where(m_valid, b_scores, float("-inf"))  # [BF]
            new = tl.maximum(highest, tl.max(b_scores, axis=0))
            base = tl.where(new == float("-inf"), 0.0, new)  # no valid position so far: exp(-inf - 0) is 0, where -inf - -inf is NaN
            b_exp = tl.exp(b_scores - base)
            scale = tl.exp(highest - base)
            mass = mass * scale + tl.sum(b_exp, axis=0)
            covered = covered * scale + tl.sum(tl.where(m_member, b_exp, 0.0), axis=0)
            highest = new

    nan = float("nan")
    tl.store(p_overlap + i_row, tl.where(size > 0, members / tl.maximum(size, 1.0), nan))
    if HAS_SCORES:
        tl.store(p_recall + i_row, tl.where(mass > 0, covered / tl.where(mass > 0, mass, 1.0), nan))


def reuse_overlap_triton(
    reused: torch.Tensor, fresh: torch.Tensor, fresh_scores: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """See `reuse_overlap`, which checks the arguments. k^2 comparisons a row, none of which leaves the chip."""
    rows, k = reused.shape
    overlap = torch.full((rows,), torch.nan, device=reused.device)
    recall = None if fresh_scores is None else torch.full_like(overlap, torch.nan)
    if rows and k:
        block = max(16, min(128, triton.next_power_of_2(k)))
        scores = None if fresh_scores is None else fresh_scores.contiguous()
        if scores is not None and scores.dtype == torch.float64:
            scores = scores.float()
        reuse_overlap_kernel[(rows,)](
            reused.contiguous(),
            fresh.contiguous(),
            overlap if scores is None else scores,
            overlap,
            overlap if recall is None else recall,
            k,
            HAS_SCORES=scores is not None,
            BF=block,
            BR=block,
        )
    return overlap, recall

"""`index_topk` in Triton, by one launch that never writes the score matrix.

A program takes a few rows and goes over their keys, a segment at a time. Of each row it holds a buffer of
candidates and a bound that at least topk of those seen reach: a key that doesn't score more can't be needed.
Before a buffer could overflow it is cut down to little more than topk, and the bound rises to the least that
stays. So no input overflows it, and there is nothing to fall back to.

Prefixes: p_ pointer, b_ block of values, o_ offsets, i_ index, n_ number, m_ mask.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl

NOTHING = tl.constexpr(-(2**31))
"""Lower than any score as a whole number."""


class Tiles(NamedTuple):
    """Says how the work is cut."""

    keys: int = 64
    """Scored at once."""
    columns: int = 128
    """Rows times heads, scored at once."""
    spare: int = 2
    """How many times topk a buffer holds, topk rounded up to a power of two."""
    segment: int = 512
    """Keys scored before candidates are picked, at most."""
    warps: int = 4
    stages: int = 3
    residents: int = 3
    """Programs of a multiprocessor."""
    registers: int | None = 168
    """Of a thread, at most."""


@triton.jit  # type: ignore[untyped-decorator]
def cut(  # type: ignore[no-untyped-def]
    p_score,  # [CAPACITY] float32: candidates' scores, none of which is NaN
    n,  # candidates, at least n_least
    n_least,
    n_most,  # at least n_least
    CAPACITY: tl.constexpr,
):
    """Choose what to keep of the candidates: their scores, which ones, where to, how many, and a bound that
    n_least of them reach.

    At least n_least of the highest, and at most n_most of them.
    """
    o = tl.arange(0, CAPACITY)
    b_score = tl.load(p_score + o, mask=o < n, other=0.0)
    b = b_score.to(tl.int32, bitcast=True)
    b = tl.where(o < n, b ^ ((b >> 31) & 0x7FFFFFFF), NOTHING)  # whole numbers of the same order
    low, high = tl.min(tl.where(o < n, b, 0x7FFFFFFF), axis=0), tl.max(b, axis=0) + 1
    n_low, n_high = n, n * 0  # how many are low or more: n_least at least; high or more: fewer
    middle = (low & high) + ((low ^ high) >> 1)
    while (n_low > n_most) & (middle > low):
        n_middle = tl.sum((b >= middle).to(tl.int32), axis=0)
        enough = n_middle >= n_least
        low, n_low = tl.where(enough, middle, low), tl.where(enough, n_middle, n_low)
        high, n_high = tl.where(enough, high, middle), tl.where(enough, n_high, n_middle)
        middle = (low & high) + ((low ^ high) >> 1)
    # Where no bound is left to try, those between low and high are alike, and as many of them stay as there
    # is room for.
    n_keep = tl.where(n_low <= n_most, n_low, n_least)
    m_over, m_between = b >= high, (b >= low) & (b < high)
    b_rank = tl.cumsum(m_over.to(tl.int32) + (m_between.to(tl.int32) << 16), axis=0)  # both at once
    n_over, n_between = b_rank & 0xFFFF, b_rank >> 16
    n_spare = n_keep - n_high
    m_keep = m_over | (m_between & (n_between <= n_spare))
    bound = (low ^ ((low >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True)
    return b_score, m_keep, n_over + tl.minimum(n_between, n_spare) - 1, n_keep, bound


@triton.jit(do_not_specialize=["n_rows", "n_keys"])  # type: ignore[untyped-decorator]
def index_topk_kernel(  # type: ignore[no-untyped-def]
    p_q,  # [rows, HEADS, DIM] fp8
    p_k,  # [keys, DIM] fp8
    p_scale,  # [keys] float32
    p_weight,  # [rows, HEADS] float32
    p_start,  # [rows] int32
    p_end,  # [rows] int32
    p_score,  # [programs, ROWS, CAPACITY] float32: candidates' scores
    p_place,  # [programs, ROWS, CAPACITY] int32: which keys they are
    p_stage,  # [programs, ROWS, SEGMENT] float32: a segment's scores, but for the keys' scales
    p_out,  # [rows, TOPK] int32, all -1
    n_rows,
    n_keys,
    TOPK: tl.constexpr,
    HEADS: tl.constexpr,
    DIM: tl.constexpr,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    SEGMENT: tl.constexpr,
    CAPACITY: tl.constexpr,
    STAGES: tl.constexpr,
):
    i_program = tl.program_id(0)
    o_r, o_k, o_d = tl.arange(0, ROWS), tl.arange(0, KEYS), tl.arange(0, DIM)
    o_c, o_n, o_s = tl.arange(0, CAPACITY), tl.arange(0, ROWS * HEADS), tl.arange(0, SEGMENT)
    p_score += i_program * ROWS * CAPACITY
    p_place += i_program * ROWS * CAPACITY
    p_stage += i_program * ROWS * SEGMENT
    for i_block in range(i_program, tl.cdiv(n_rows, ROWS), tl.num_programs(0)):
        i_row = i_block * ROWS
        m_r = i_row + o_r < n_rows
        b_start = tl.maximum(tl.load(p_start + i_row + o_r, mask=m_r, other=n_keys), 0)
        b_end = tl.minimum(tl.load(p_end + i_row + o_r, mask=m_r, other=0), n_keys)
        first, last = tl.min(b_start, axis=0), tl.max(b_end, axis=0)
        o_heads = i_row * HEADS + o_n.to(tl.int64)
        m_n = i_row + o_n // HEADS < n_rows
        b_q = tl.load(
            p_q + o_heads[:, None] * DIM + o_d[None, :], mask=m_n[:, None], other=0.0
        )  # [ROWS HEADS, DIM]
        b_weight = tl.load(p_weight + o_heads, mask=m_n, other=0.0)
        b_count = tl.zeros([ROWS], tl.int32)
        b_bound = tl.full([ROWS], float("-inf"), tl.float32)
        for i_segment in range(first, last, SEGMENT):
            for i_tile in tl.range(0, SEGMENT // KEYS, num_stages=STAGES):
                o_tile = i_segment + i_tile * KEYS + o_k
                o_tile = tl.minimum(o_tile, n_keys - 1).to(
                    tl.int64
                )  # past the end the last one once more, which is left out below
                b_k = tl.load(p_k + o_tile[:, None] * DIM + o_d[None, :])
                b_dot = tl.dot(b_k, tl.trans(b_q))  # [KEYS, ROWS HEADS]
                b_sum = tl.sum(
                    tl.reshape(tl.maximum(b_dot, 0.0) * b_weight[None, :], [KEYS, ROWS, HEADS]), axis=2
                )
                tl.store(p_stage + o_r[None, :] * SEGMENT + i_tile * KEYS + o_k[:, None], b_sum)
            tl.debug_barrier()  # what other threads stored is read next
            o_key = i_segment + o_s
            b_new = tl.load(p_stage + o_r[:, None] * SEGMENT + o_s[None, :])  # [ROWS, SEGMENT]
            b_new *= tl.load(p_scale + o_key, mask=o_key < n_keys, other=0.0)[None, :]
            m_new = (
                (b_new > b_bound[:, None])
                & (o_key[None, :] >= b_start[:, None])
                & (o_key[None, :] < b_end[:, None])
            )
            b_rank = tl.cumsum(m_new.to(tl.int32), axis=1)
            o_new = (o_r * CAPACITY + b_count - 1)[:, None] + b_rank
            tl.store(p_score + o_new, b_new, mask=m_new)
            tl.store(p_place + o_new, tl.broadcast_to(o_key[None, :], [ROWS, SEGMENT]), mask=m_new)
            b_count += tl.sum(m_new.to(tl.int32), axis=1)
            tl.debug_barrier()
            if tl.max(b_count, axis=0) > CAPACITY - SEGMENT:
                for i in range(ROWS):
                    n = tl.sum(tl.where(o_r == i, b_count, 0), axis=0)
                    if n > CAPACITY - SEGMENT:
                        b_kept, m_keep, o_to, n_keep, bound = cut(
                            p_score + i * CAPACITY, n, TOPK, TOPK + SEGMENT // 8, CAPACITY
                        )
                        b_place = tl.load(p_place + i * CAPACITY + o_c, mask=m_keep, other=0)
                        tl.debug_barrier()  # all is read before any of it is written over
                        tl.store(p_score + i * CAPACITY + o_to, b_kept, mask=m_keep)
                        tl.store(p_place + i * CAPACITY + o_to, b_place, mask=m_keep)
                        b_count = tl.where(o_r == i, n_keep, b_count)
                        b_bound = tl.where(o_r == i, bound, b_bound)
                tl.debug_barrier()
        for i in range(ROWS):
            n = tl.sum(tl.where(o_r == i, b_count, 0), axis=0)
            start = tl.sum(tl.where(o_r == i, b_start, 0), axis=0)
            p_row = p_out + (i_row + i) * TOPK
            if n > TOPK:
                b_kept, m_keep, o_to, n_keep, bound = cut(p_score + i * CAPACITY, n, TOPK, TOPK, CAPACITY)
                b_place = tl.load(p_place + i * CAPACITY + o_c, mask=m_keep, other=0)
                tl.store(p_row + o_to, b_place - start, mask=m_keep)
            elif n > 0:
                b_place = tl.load(p_place + i * CAPACITY + o_c, mask=o_c < n, other=0)
                tl.store(p_row + o_c, b_place - start, mask=o_c < n)
        tl.debug_barrier()  # the next rows' candidates take the same place


def index_topk_triton(
    q: torch.Tensor,
    k: torch.Tensor,
    k_scale: torch.Tensor,
    weights: torch.Tensor,
    starts: torch.Tensor,
    ends: torch.Tensor,
    topk: int,
    tiles: Tiles = Tiles(),  # noqa: B008  # immutable
) -> torch.Tensor:
    """See `index_topk`, which checks the arguments."""
    rows, heads, dim = q.shape
    out = torch.full((rows, topk), -1, dtype=torch.int32, device=q.device)
    if not rows:
        return out
    each = max(1, tiles.columns // heads)
    capacity = max(tiles.spare * triton.next_power_of_2(topk), 4 * tiles.keys)
    segment = max(tiles.keys, min(tiles.segment, capacity // 4))
    many = (
        torch.cuda.get_device_properties(q.device).multi_processor_count * tiles.residents if q.is_cuda else 2
    )
    programs = min(many, triton.cdiv(rows, each))
    scores = torch.empty((programs, each, capacity), dtype=torch.float32, device=q.device)
    places = torch.empty((programs, each, capacity), dtype=torch.int32, device=q.device)
    stage = torch.empty((programs, each, segment), dtype=torch.float32, device=q.device)
    index_topk_kernel[(programs,)](
        q,
        k,
        k_scale,
        weights,
        starts,
        ends,
        scores,
        places,
        stage,
        out,
        rows,
        k.shape[0],
        TOPK=topk,
        HEADS=heads,
        DIM=dim,
        ROWS=each,
        KEYS=tiles.keys,
        SEGMENT=segment,
        CAPACITY=capacity,
        STAGES=tiles.stages,
        num_warps=tiles.warps,
        **({"maxnreg": tiles.registers} if tiles.registers else {}),
    )
    return out

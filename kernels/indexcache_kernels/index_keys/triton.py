"""`index_keys` in Triton, by two launches whatever the number of layers.

With a few tokens the time is that of reading the weights, which one program for each layer would not do as
fast as the device can: so each layer's sum over its inputs is split among programs, and a second launch adds
the parts up and does what needs a whole key.

The layers' inputs have no place in one tensor, so their addresses stand in a table; it may be filled after
the launches were captured in a CUDA graph, as long as it is before a replay.

Prefixes: p_ pointer, a_ address, b_ block of values, o_ offsets, i_ index, n_ number, m_ mask.
"""

from collections.abc import Iterable, Sequence

import torch
import triton
import triton.language as tl

from indexcache_kernels.index_keys.inputs import Indexer, Rope

ROWS = (16, 32, 64)
"""Tokens that a program takes: the kernel is compiled for each."""
STEP = 64
"""Inputs that a program multiplies at a time."""
PARTS = 16
"""Of one layer's inputs, at most: a power of two."""
PROGRAMS = 132
"""As many as an H100 has multiprocessors; with more, more parts wait to be added up."""


@triton.jit(do_not_specialize=["n_layers", "n_tokens", "n_parts", "n_steps"])  # type: ignore[untyped-decorator]
def project_kernel(  # type: ignore[no-untyped-def]
    p_table,  # [4, sites] int64: addresses of weights, norm weights, norm biases, caches
    p_calls,  # [3, layers] int64: which site, addresses of inputs and of slots
    p_sums,  # [layers, tokens, parts, DIM] float32: out
    n_layers,
    n_tokens,
    n_parts,
    n_steps,  # of a part
    HIDDEN: tl.constexpr,
    DIM: tl.constexpr,
    FACTOR: tl.constexpr,
    WHOLE: tl.constexpr,  # HIDDEN is a multiple of BK
    BT: tl.constexpr,
    BK: tl.constexpr,
):
    i_part, i_layer = tl.program_id(0), tl.program_id(1)
    p_weight = tl.load(p_table + tl.load(p_calls + i_layer)).to(tl.pointer_type(tl.bfloat16))
    p_hidden = tl.load(p_calls + n_layers + i_layer).to(tl.pointer_type(tl.bfloat16))
    o_t = tl.program_id(2) * BT + tl.arange(0, BT)
    o_d = tl.arange(0, DIM)
    m_t = o_t < n_tokens
    b_sum = tl.zeros([BT, DIM], dtype=tl.float32)
    for i in range(n_steps):
        o_k = (i_part * n_steps + i) * BK + tl.arange(0, BK)
        # What is read at an address that was read itself could lie anywhere; all of it begins where PyTorch
        # allocates.
        p_x = tl.multiple_of(p_hidden + (o_t[:, None] * HIDDEN + o_k[None, :]), [16, 16])
        p_w = tl.multiple_of(p_weight + (o_d[None, :] * HIDDEN + o_k[:, None]), [16, 16])
        m_k = o_k < HIDDEN
        b_x = tl.load(p_x, mask=m_t[:, None] if WHOLE else m_t[:, None] & m_k[None, :], other=0.0)
        b_w = tl.load(p_w) if WHOLE else tl.load(p_w, mask=m_k[:, None], other=0.0)
        b_sum += tl.dot(b_x.to(FACTOR), b_w.to(FACTOR))
    o_row = ((i_layer * n_tokens + o_t) * n_parts + i_part) * DIM
    tl.store(p_sums + o_row[:, None] + o_d[None, :], b_sum, mask=m_t[:, None])


@triton.jit(do_not_specialize=["n_layers", "n_sites", "n_tokens", "n_parts"])  # type: ignore[untyped-decorator]
def store_kernel(  # type: ignore[no-untyped-def]
    p_table,  # as above
    p_calls,
    p_sums,
    p_positions,  # [tokens] int64
    p_rope,  # [positions, 2 HALF]
    n_layers,
    n_sites,
    n_tokens,
    n_parts,
    rope_stride,
    block_stride,  # bytes of the cache
    eps,
    DIM: tl.constexpr,
    HALF: tl.constexpr,
    BLOCK: tl.constexpr,  # tokens in a block of the cache
    INTERLEAVED: tl.constexpr,
    PARTS: tl.constexpr,
):
    i_t, i_layer = tl.program_id(0), tl.program_id(1)
    i_site = tl.load(p_calls + i_layer)
    p_slots = tl.load(p_calls + 2 * n_layers + i_layer).to(tl.pointer_type(tl.int64))
    slot = tl.load(p_slots + i_t)
    if slot < 0:
        return
    p_norm_weight = tl.load(p_table + n_sites + i_site).to(tl.pointer_type(tl.float32))
    p_norm_bias = tl.load(p_table + 2 * n_sites + i_site).to(tl.pointer_type(tl.float32))
    a_cache = tl.load(p_table + 3 * n_sites + i_site)

    o_p, o_d = tl.arange(0, PARTS), tl.arange(0, DIM)
    p_parts = p_sums + (i_layer * n_tokens + i_t) * n_parts * DIM + o_p[:, None] * DIM + o_d[None, :]
    b_key = tl.sum(tl.load(p_parts, mask=(o_p < n_parts)[:, None], other=0.0), axis=0)
    b_key = b_key.to(tl.bfloat16).to(tl.float32)

    mean = tl.sum(b_key, axis=0) / DIM
    b_off = b_key - mean
    spread = tl.rsqrt(tl.sum(b_off * b_off, axis=0) / DIM + eps)
    b_key = b_off * spread * tl.load(p_norm_weight + o_d) + tl.load(p_norm_bias + o_d)

    # Each dimension's partner in its pair, and the pair's angle.
    m_rope = o_d < 2 * HALF
    if INTERLEAVED:
        o_partner, o_angle, sign = o_d ^ 1, o_d // 2, tl.where(o_d % 2 == 0, -1.0, 1.0)
    else:
        o_partner, o_angle, sign = o_d ^ HALF, o_d % HALF, tl.where(o_d < HALF, -1.0, 1.0)
    b_partner = tl.gather(b_key, tl.where(m_rope, o_partner, o_d), axis=0)
    p_angle = p_rope + tl.load(p_positions + i_t) * rope_stride + tl.where(m_rope, o_angle, 0)
    b_cos = tl.load(p_angle, mask=m_rope, other=1.0).to(tl.float32)
    b_sin = tl.load(p_angle + HALF, mask=m_rope, other=0.0).to(tl.float32)
    b_key = tl.where(m_rope, b_key * b_cos + sign * b_partner * b_sin, b_key)

    largest = tl.max(tl.abs(b_key), axis=0)
    scale = tl.math.exp2(tl.math.ceil(tl.math.log2(tl.math.div_rn(tl.maximum(largest, 1e-4), 448.0))))
    o_block = (slot // BLOCK) * block_stride
    at = slot % BLOCK
    b_fp8 = tl.math.div_rn(b_key, scale + tl.zeros_like(b_key)).to(tl.float8e4nv)
    tl.store(a_cache.to(tl.pointer_type(tl.float8e4nv)) + o_block + at * DIM + o_d, b_fp8)
    tl.store(a_cache.to(tl.pointer_type(tl.float32)) + (o_block + BLOCK * DIM) // 4 + at, scale)


def table_of(indexers: Sequence[Indexer]) -> torch.Tensor:
    """Return (4, indexers) int64 on their device: the addresses of what each has. They must stay where they
    are."""
    rows = [[getattr(x, name).data_ptr() for x in indexers] for name in Indexer._fields]
    return torch.tensor(rows, dtype=torch.int64, device=indexers[0].weight.device)


def calls_of(
    sites: Iterable[int], hidden: Sequence[torch.Tensor], slots: Sequence[torch.Tensor]
) -> list[list[int]]:
    """Return (3, layers): of which indexer each is, and the addresses of its input and its slots."""
    return [list(sites), [x.data_ptr() for x in hidden], [x.data_ptr() for x in slots]]


def shares(hidden: int, programs: int) -> tuple[int, int]:
    """Return how many parts of how many steps each there are, if a part of all takes so many programs. Parts
    are even, so that no number of layers needs the kernel compiled once more.
    """
    steps = triton.cdiv(hidden, STEP)
    least = triton.cdiv(steps, min(PARTS, triton.cdiv(PROGRAMS, programs)))
    each = next(n for n in range(least, steps + 1) if steps % n == 0)
    return steps // each, each


def index_keys_triton(
    table: torch.Tensor, calls: torch.Tensor, like: Indexer, positions: torch.Tensor, rope: Rope
) -> None:
    """Launch. table, calls: on the device, see `table_of` and `calls_of`. like: any of the indexers, all of
    which have its shapes.
    """
    tokens, layers = positions.shape[0], calls.shape[1]
    if not tokens or not layers:
        return
    dim, hidden = like.norm_weight.shape[0], like.weight.shape[1]
    rows = next((rows for rows in ROWS if tokens <= rows), ROWS[-1])
    blocks = triton.cdiv(tokens, rows)
    parts, each = shares(hidden, layers * blocks)
    sums = torch.empty((layers, tokens, parts, dim), dtype=torch.float32, device=positions.device)
    project_kernel[(parts, layers, blocks)](
        table,
        calls,
        sums,
        layers,
        tokens,
        parts,
        each,
        HIDDEN=hidden,
        DIM=dim,
        FACTOR=tl.bfloat16
        if positions.is_cuda
        else tl.float32,  # Triton's interpreter multiplies bfloat16 as integers
        WHOLE=hidden % STEP == 0,
        BT=rows,
        BK=STEP,
        num_warps=4,
        num_stages=4,
    )
    store_kernel[(tokens, layers)](
        table,
        calls,
        sums,
        positions,
        rope.table,
        layers,
        table.shape[1],
        tokens,
        parts,
        rope.table.stride(0),
        like.cache.stride(0),
        rope.eps,
        DIM=dim,
        HALF=rope.table.shape[1] // 2,
        BLOCK=like.cache.shape[1],
        INTERLEAVED=rope.interleaved,
        PARTS=PARTS,
        num_warps=1,
    )

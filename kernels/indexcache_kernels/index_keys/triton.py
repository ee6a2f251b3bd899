"""`index_keys` in Triton: a program makes some tokens' keys in one layer, of weights, input and cache that it finds by their addresses.

The layers' inputs have no place in one tensor, so their addresses stand in a table; it may be filled after the launch was captured in a
CUDA graph, as long as it is before a replay.

Prefixes: p_ pointer, a_ address, b_ block of values, o_ offsets, i_ index, m_ mask.
"""

from collections.abc import Iterable, Sequence

import torch
import triton
import triton.language as tl

from indexcache_kernels.index_keys import Indexer, Rope

ROWS = (16, 32, 64)
"""Tokens that a program takes: the kernel is compiled for each."""


@triton.jit(do_not_specialize=["layers", "sites", "tokens"])  # type: ignore[untyped-decorator]
def index_keys_kernel(  # type: ignore[no-untyped-def]
    p_table,  # [4, sites] int64: addresses of weights, norm weights, norm biases, caches
    p_calls,  # [3, layers] int64: which site, addresses of inputs and of slots
    p_positions,  # [tokens] int64
    p_rope,  # [positions, 2 HALF]
    layers,
    sites,
    tokens,
    rope_stride,
    block_stride,  # bytes of the cache
    eps,
    HIDDEN: tl.constexpr,
    DIM: tl.constexpr,
    HALF: tl.constexpr,
    BLOCK: tl.constexpr,  # tokens in a block of the cache
    INTERLEAVED: tl.constexpr,
    FACTOR: tl.constexpr,
    WHOLE: tl.constexpr,  # HIDDEN is a multiple of BK
    BT: tl.constexpr,
    BK: tl.constexpr,
):
    i_layer = tl.program_id(0)
    i_site = tl.load(p_calls + i_layer)
    p_hidden = tl.load(p_calls + layers + i_layer).to(tl.pointer_type(tl.bfloat16))
    p_slots = tl.load(p_calls + 2 * layers + i_layer).to(tl.pointer_type(tl.int64))
    p_weight = tl.load(p_table + i_site).to(tl.pointer_type(tl.bfloat16))
    p_norm_weight = tl.load(p_table + sites + i_site).to(tl.pointer_type(tl.float32))
    p_norm_bias = tl.load(p_table + 2 * sites + i_site).to(tl.pointer_type(tl.float32))
    a_cache = tl.load(p_table + 3 * sites + i_site)

    o_t = tl.program_id(1) * BT + tl.arange(0, BT)
    o_d = tl.arange(0, DIM)
    m_t = o_t < tokens
    b_key = tl.zeros([BT, DIM], dtype=tl.float32)
    for i_k in range(0, HIDDEN, BK):
        o_k = i_k + tl.arange(0, BK)
        # What is read at an address that was read itself could lie anywhere; all of it begins where PyTorch allocates.
        p_x = tl.multiple_of(p_hidden + (o_t[:, None] * HIDDEN + o_k[None, :]), [16, 16])
        p_w = tl.multiple_of(p_weight + (o_d[None, :] * HIDDEN + o_k[:, None]), [16, 16])
        if WHOLE:
            b_x, b_w = tl.load(p_x, mask=m_t[:, None], other=0.0), tl.load(p_w)
        else:
            b_x = tl.load(p_x, mask=m_t[:, None] & (o_k < HIDDEN)[None, :], other=0.0)
            b_w = tl.load(p_w, mask=(o_k < HIDDEN)[:, None], other=0.0)
        b_key += tl.dot(b_x.to(FACTOR), b_w.to(FACTOR))
    b_key = b_key.to(tl.bfloat16).to(tl.float32)

    mean = tl.sum(b_key, axis=1) / DIM
    b_off = b_key - mean[:, None]
    spread = tl.rsqrt(tl.sum(b_off * b_off, axis=1) / DIM + eps)
    b_key = b_off * spread[:, None] * tl.load(p_norm_weight + o_d)[None, :] + tl.load(p_norm_bias + o_d)[None, :]

    # Each dimension's partner in its pair, and the pair's angle.
    m_rope = o_d < 2 * HALF
    if INTERLEAVED:
        o_partner, o_angle, sign = o_d ^ 1, o_d // 2, tl.where(o_d % 2 == 0, -1.0, 1.0)
    else:
        o_partner, o_angle, sign = o_d ^ HALF, o_d % HALF, tl.where(o_d < HALF, -1.0, 1.0)
    o_partner = tl.where(m_rope, o_partner, o_d)
    b_partner = tl.gather(b_key, tl.broadcast_to(o_partner[None, :], [BT, DIM]), axis=1)
    o_pos = tl.load(p_positions + o_t, mask=m_t, other=0) * rope_stride
    o_rope = o_pos[:, None] + tl.where(m_rope, o_angle, 0)[None, :]
    b_cos = tl.load(p_rope + o_rope, mask=m_t[:, None] & m_rope[None, :], other=1.0).to(tl.float32)
    b_sin = tl.load(p_rope + o_rope + HALF, mask=m_t[:, None] & m_rope[None, :], other=0.0).to(tl.float32)
    b_key = tl.where(m_rope[None, :], b_key * b_cos + sign[None, :] * b_partner * b_sin, b_key)

    largest = tl.max(tl.abs(b_key), axis=1)
    scale = tl.math.exp2(tl.math.ceil(tl.math.log2(tl.math.div_rn(tl.maximum(largest, 1e-4), 448.0))))
    slot = tl.load(p_slots + o_t, mask=m_t, other=-1)
    m_slot = slot >= 0
    o_block = (slot // BLOCK) * block_stride
    at = slot % BLOCK
    p_values = a_cache.to(tl.pointer_type(tl.float8e4nv))
    p_scales = a_cache.to(tl.pointer_type(tl.float32))
    b_fp8 = tl.math.div_rn(b_key, scale[:, None]).to(tl.float8e4nv)
    tl.store(p_values + (o_block + at * DIM)[:, None] + o_d[None, :], b_fp8, mask=m_slot[:, None])
    tl.store(p_scales + (o_block + BLOCK * DIM) // 4 + at, scale, mask=m_slot)


def table_of(indexers: Sequence[Indexer]) -> torch.Tensor:
    """(4, indexers) int64 on their device: the addresses of what each has. They must stay where they are."""
    rows = [[getattr(x, name).data_ptr() for x in indexers] for name in Indexer._fields]
    return torch.tensor(rows, dtype=torch.int64, device=indexers[0].weight.device)


def calls_of(sites: Iterable[int], hidden: Sequence[torch.Tensor], slots: Sequence[torch.Tensor]) -> list[list[int]]:
    """(3, layers): of which indexer each is, and the addresses of its input and its slots."""
    return [list(sites), [x.data_ptr() for x in hidden], [x.data_ptr() for x in slots]]


def index_keys_triton(table: torch.Tensor, calls: torch.Tensor, like: Indexer, positions: torch.Tensor, rope: Rope) -> None:
    """Launch. table, calls: on the device, see `table_of` and `calls_of`. like: any of the indexers, all of which have its shapes."""
    tokens, layers = positions.shape[0], calls.shape[1]
    if not tokens or not layers:
        return
    rows = next((rows for rows in ROWS if tokens <= rows), ROWS[-1])
    hidden, step = like.weight.shape[1], 128
    index_keys_kernel[(layers, triton.cdiv(tokens, rows))](
        table,
        calls,
        positions,
        rope.table,
        layers,
        table.shape[1],
        tokens,
        rope.table.stride(0),
        like.cache.stride(0),
        rope.eps,
        HIDDEN=hidden,
        DIM=like.norm_weight.shape[0],
        HALF=rope.table.shape[1] // 2,
        BLOCK=like.cache.shape[1],
        INTERLEAVED=rope.interleaved,
        FACTOR=tl.bfloat16 if positions.is_cuda else tl.float32,  # Triton's interpreter multiplies bfloat16 as integers
        WHOLE=hidden % step == 0,
        BT=rows,
        BK=step,
        num_warps=8 if rows == 64 else 4,
        num_stages=4,
    )

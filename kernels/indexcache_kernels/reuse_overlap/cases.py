"""Inputs on which all forms of `reuse_overlap` must agree: odd shapes, dtypes, padding anywhere, rows with
nothing fresh.

Shipped, since whoever brings another form or another device needs them: the tests of the Triton kernel run
them in its interpreter, and on a GPU where there is one.
"""

from typing import NamedTuple

import torch


class Case(NamedTuple):
    """Arguments of `reuse_overlap`, and how far from the reference a form may be."""

    reused: torch.Tensor
    fresh: torch.Tensor
    fresh_scores: torch.Tensor | None
    tolerance: float = 2e-6


def sets(rows: int, k: int, positions: int, filled: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return (rows, k) int32: `filled` (rows,) positions out of `positions`, none twice, and padding,
    shuffled together.
    """
    out = torch.full((rows, k), -1, dtype=torch.int32)
    for i, n in enumerate(filled.tolist()):
        out[i, :n] = torch.randperm(positions, generator=generator)[:n].int()
        out[i] = out[i, torch.randperm(k, generator=generator)]
    return out


def case(
    rows: int,
    k: int,
    *,
    spread: float = 1.0,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    full: bool = False,
) -> Case:
    """Return a random case out of 2k positions. The first row has nothing fresh, the second nothing reused,
    the third the same set twice.

    spread: standard deviation of the scores. full: no padding, and no such rows.
    """
    g = torch.Generator().manual_seed(seed)
    filled = [
        torch.full((rows,), k) if full else torch.randint(1, k + 1, (rows,), generator=g) for _ in range(2)
    ]
    if not full:
        filled[1][0] = 0
        filled[0][1:2] = 0
    reused, fresh = (sets(rows, k, 2 * k, n, g) for n in filled)
    if not full and rows > 2:
        reused[2] = fresh[2].flip(0)
    return Case(reused, fresh, (torch.randn(rows, k, generator=g) * spread).to(dtype))


def cases() -> dict[str, Case]:
    """Return all cases, by name, on the CPU."""
    plain = case(5, 64, seed=1)
    assert plain.fresh_scores is not None
    return {
        "k 64": plain,
        "k 64, no padding": case(4, 64, full=True, seed=2),
        "k 2048": case(3, 2048, seed=3),
        "k 1": case(4, 1, seed=4),
        "k 7, less than a block": case(6, 7, seed=5),
        "k 100, no power of two": case(5, 100, seed=6),
        "k 129, a block and one": case(5, 129, seed=7),
        "k 333": case(33, 333, seed=8),
        "one row": case(1, 64, full=True, seed=9),
        "no rows": Case(plain.reused[:0], plain.fresh[:0], plain.fresh_scores[:0]),
        "scores far apart": case(5, 100, spread=200.0, seed=10),
        "scores alike": plain._replace(fresh_scores=torch.full_like(plain.fresh_scores, -3.0)),
        "bfloat16 scores": case(5, 64, dtype=torch.bfloat16, seed=11),
        "float16 scores": case(5, 64, dtype=torch.float16, seed=12),
        "float64 scores": case(5, 64, dtype=torch.float64, seed=13),
        "no scores": plain._replace(fresh_scores=None),
        "int64 positions": plain._replace(reused=plain.reused.long(), fresh=plain.fresh.long()),
        "int64 fresh beside int32 reused": plain._replace(fresh=plain.fresh.long()),
        "positions over 2^24": plain._replace(reused=shifted(plain.reused), fresh=shifted(plain.fresh)),
        "rows not contiguous": Case(
            by_columns(plain.reused), by_columns(plain.fresh), by_columns(plain.fresh_scores)
        ),
        "garbage beside padding": plain._replace(
            fresh_scores=plain.fresh_scores.masked_fill(plain.fresh < 0, torch.nan)
        ),
    }


def shifted(positions: torch.Tensor) -> torch.Tensor:
    """Return the same sets far up, where float32 no longer tells neighbours apart; padding stays."""
    return torch.where(positions < 0, positions, positions + 2**24)


def by_columns(x: torch.Tensor) -> torch.Tensor:
    """Return the same values, kept column by column."""
    return x.T.contiguous().T

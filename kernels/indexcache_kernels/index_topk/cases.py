"""Inputs on which all forms of `index_topk` must agree, but for which of equal scores they take.

All numbers are small and whole, so every score is exact in float32 in whatever order its parts are added up,
and nothing is near a tie without being one.
"""

from typing import NamedTuple

import torch

from indexcache_kernels.index_topk.naive import index_scores


class Case(NamedTuple):
    """Arguments of `index_topk`."""

    q: torch.Tensor
    k: torch.Tensor
    k_scale: torch.Tensor
    weights: torch.Tensor
    starts: torch.Tensor
    ends: torch.Tensor
    topk: int

    def to(self, device: str) -> "Case":
        """Return the same case on a device."""
        return Case(
            self.q.to(device),
            self.k.to(device),
            self.k_scale.to(device),
            self.weights.to(device),
            self.starts.to(device),
            self.ends.to(device),
            self.topk,
        )


def case(
    rows: int, keys: int, topk: int, *, heads: int = 32, dim: int = 128, seed: int = 0, device: str = "cpu"
) -> Case:
    """Return the last rows of a prompt of so many keys, at random."""
    g = torch.Generator(device).manual_seed(seed)

    def whole(*shape: int, least: int, most: int) -> torch.Tensor:
        return torch.randint(least, most + 1, shape, generator=g, device=device).float()

    return Case(
        whole(rows, heads, dim, least=-2, most=2).to(torch.float8_e4m3fn),
        whole(keys, dim, least=-2, most=2).to(torch.float8_e4m3fn),
        whole(keys, least=1, most=4),
        whole(rows, heads, least=-1, most=4),
        torch.zeros(rows, dtype=torch.int32, device=device),
        torch.arange(keys - rows, keys, dtype=torch.int32, device=device) + 1,
        topk,
    )


def adversarial(c: Case) -> dict[str, Case]:
    """Return a case's shapes with scores that are hard to choose from, by name."""
    n, device = c.k.shape[0], c.k.device
    place = torch.arange(n, device=device)
    alike = c._replace(
        k=torch.ones_like(c.k.float()).to(c.k.dtype), q=torch.ones_like(c.q.float()).to(c.q.dtype)
    )
    alike = alike._replace(k_scale=torch.ones_like(c.k_scale), weights=torch.ones_like(c.weights))
    return {
        "all equal": alike,
        "all zero": alike._replace(weights=torch.zeros_like(c.weights)),
        "rising": alike._replace(k_scale=place.float() + 1),
        "falling": alike._replace(k_scale=n - place.float()),
        "one outlier a block": alike._replace(k_scale=torch.where(place % 128 == 77, 64.0, 1.0)),
        "every 17th high": alike._replace(k_scale=torch.where(place % 17 == 0, 64.0, 1.0)),
        "all but one not a number": alike._replace(k_scale=torch.where(place == n // 2, 1.0, torch.nan)),
        "some not a number": c._replace(k_scale=torch.where(place % 3 == 0, torch.nan, c.k_scale)),
        "products not a number": c._replace(
            k=torch.where((place % 5 == 0)[:, None], torch.nan, c.k.float()).to(c.k.dtype)
        ),
        "below zero": c._replace(weights=-1 - c.weights.abs()),
        "infinite": c._replace(k_scale=torch.where(place % 7 == 0, torch.inf, c.k_scale)),
    }


def cases() -> dict[str, Case]:
    """Return all cases, by name, on the CPU."""
    plain = case(5, 700, 32, seed=1)
    rows = torch.arange(5, dtype=torch.int32)
    return {
        "plain": plain,
        "64 heads": case(5, 500, 32, heads=64, seed=2),
        "16 heads, 64 dimensions": case(11, 500, 32, heads=16, dim=64, seed=3),
        "topk 1": case(5, 300, 1, seed=4),
        "topk no power of two": case(5, 700, 45, seed=5),
        "topk 2048": case(2, 9000, 2048, seed=6),
        "as many keys as topk": case(3, 64, 64, seed=7),
        "one row": case(1, 200, 16, seed=8),
        "no rows": case(0, 200, 16, seed=9),
        "causal from the first key on": plain._replace(ends=1 + rows * 4),
        "rows of two prompts": plain._replace(starts=rows // 3 * 333, ends=300 + rows // 3 * 333 + rows),
        "rows without keys": plain._replace(starts=rows * 50, ends=rows * 50 + (rows % 2) * 40),
        "bounds outside of the keys": plain._replace(starts=rows * 0, ends=rows * 0 + 5000),
        **adversarial(plain),
    }


def errors(c: Case, found: torch.Tensor, scores: torch.Tensor | None = None) -> int:
    """Count members of what was found whose scores are not those of the reference, or that are not there, or
    there twice.

    scores: (rows, keys) float32, of the case; None: the reference's.
    """
    s = index_scores(c.q, c.k, c.k_scale, c.weights) if scores is None else scores
    wrong = 0
    for i in range(c.q.shape[0]):
        start, end = int(c.starts[i]), min(int(c.ends[i]), c.k.shape[0])
        row = s[i, start : max(start, end)]
        size = min(c.topk, int((row > float("-inf")).sum()))
        chosen = found[i][found[i] >= 0].long()
        chosen = chosen[chosen < row.shape[0]].unique()  # type: ignore[no-untyped-call]
        wrong += abs(size - chosen.shape[0]) + int((found[i] >= 0).sum() - chosen.shape[0])
        both = min(size, chosen.shape[0])
        got, expected = row[chosen].sort(descending=True).values[:both], row.topk(size).values[:both]
        wrong += int((got != expected).sum())
    return wrong

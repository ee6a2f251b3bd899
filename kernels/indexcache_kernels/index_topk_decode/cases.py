"""Inputs on which all forms of `index_topk_decode` must agree, made of cases of `index_topk`: one row each,
its keys on pages of one cache, in any order.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from indexcache_kernels.index_topk.cases import Case, adversarial, case, errors
from indexcache_kernels.index_topk_decode.workspace import Workspace

PAGE = 64


class DecodeCase(NamedTuple):
    """Arguments of `index_topk_decode`, and the cases that they were made of."""

    q: torch.Tensor
    cache: torch.Tensor
    weights: torch.Tensor
    lengths: torch.Tensor
    table: torch.Tensor
    topk: int
    rows: tuple[Case, ...]

    def arguments(
        self, device: str
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the tensors, on a device."""
        given = self.q, self.cache, self.weights, self.lengths, self.table
        q, cache, weights, lengths, table = (x.to(device) for x in given)
        return q, cache, weights, lengths, table

    def workspace(self, device: str) -> Workspace:
        """Return one that is large enough."""
        return Workspace(len(self.rows), self.table.shape[1] * PAGE, torch.device(device))

    def errors(self, found: torch.Tensor) -> int:
        """Count members of what was found that aren't the reference's."""
        return sum(errors(row, found[i : i + 1]) for i, row in enumerate(self.rows))


def paged(rows: Sequence[Case], *, seed: int = 0, spare: int = 3) -> DecodeCase:
    """Return these cases, of one row each, as rows over one cache.

    spare: pages that are nobody's; what stands there, and after a row's last key, is anything.
    """
    g = torch.Generator().manual_seed(seed)
    dim, most = rows[0].k.shape[1], max(-(-len(c.k) // PAGE) for c in rows)
    pages = sum(-(-len(c.k) // PAGE) for c in rows) + spare
    cache = torch.randint(0, 255, (pages, PAGE, dim + 4), dtype=torch.uint8, generator=g)
    table = torch.randint(0, pages, (len(rows), most), dtype=torch.int32, generator=g)
    order = torch.randperm(pages, generator=g)
    for i, c in enumerate(rows):
        need = -(-len(c.k) // PAGE)
        own, order = order[:need], order[need:]
        table[i, :need] = own.int()
        for n, page in enumerate(own.tolist()):
            flat, part = cache[page].view(-1), slice(n * PAGE, (n + 1) * PAGE)
            keys, scales = c.k[part].view(torch.uint8), c.k_scale[part].view(torch.uint8)
            flat[: keys.numel()] = keys.reshape(-1)
            flat[PAGE * dim : PAGE * dim + scales.numel()] = scales.reshape(-1)
    return DecodeCase(
        torch.cat([c.q for c in rows]),
        cache,
        torch.cat([c.weights for c in rows]),
        torch.cat([c.ends for c in rows]),
        table,
        rows[0].topk,
        tuple(rows),
    )


def of_one_request(c: Case) -> DecodeCase:
    """Return the rows of a case as several of one request, as those that multi-token prediction verifies."""
    rows = [
        c._replace(
            q=c.q[i : i + 1], weights=c.weights[i : i + 1], ends=c.ends[i : i + 1], starts=c.starts[:1]
        )
        for i in range(len(c.q))
    ]
    return paged(rows[:1])._replace(q=c.q, weights=c.weights, lengths=c.ends, rows=tuple(rows))


def cases(keys: int = 700, topk: int = 32, heads: int = 32) -> dict[str, DecodeCase]:
    """Return all cases, by name, on the CPU."""
    plain = case(1, keys, topk, heads=heads, seed=1)
    lengths = (keys, PAGE, PAGE + 1, topk, topk + 1, 3 * PAGE - 1)
    many = [case(1, n, min(topk, n), heads=heads, seed=n)._replace(topk=topk) for n in lengths]
    return {
        "plain": paged([plain]),
        "rows of different lengths": paged(many, seed=2),
        "a row without keys": paged([plain, plain._replace(ends=torch.zeros(1, dtype=torch.int32))]),
        "rows of one request": of_one_request(case(3, keys, topk, heads=heads, seed=3)),
        "more rows than blocks": paged([case(1, 2 * PAGE, topk, heads=heads, seed=n) for n in range(150)]),
        **{name: paged([c, plain]) for name, c in adversarial(plain).items()},
    }

"""Chooses which query rows of a step are measured.

What is sampled is rows, some tens a step, never whole steps: a step measured whole costs what an all-Full
step costs. A row whose context holds no more than k tokens chooses them all and is never sampled.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeVar

from indexcache_core.contract import Work

from indexcache_runtime.engine import Row

_T = TypeVar("_T")


@dataclass(frozen=True)
class Scheduled:
    """A request in a step: its tokens at positions [start, end) are computed."""

    request: str
    start: int
    end: int
    prompt: int
    """Tokens of its prompt: positions from there on were generated."""


def choose(step: Iterable[Scheduled], k: int, limit: int, rng: random.Random) -> tuple[Row, ...]:
    """Choose at most `limit` rows of a step, each with a context of more than k tokens.

    Every request gets one row before any gets a second, prefill and decode requests in turn, each kind in
    random order; what is left goes to prefills, evenly. Within a request rows are drawn without replacement.
    """
    prefills: list[tuple[Scheduled, range]] = []
    decodes: list[tuple[Scheduled, range]] = []
    for s in step:
        if eligible := range(max(s.start, k), s.end):  # context = position + 1 > k
            (decodes if s.end - s.start == 1 else prefills).append((s, eligible))
    if limit <= 0 or not (prefills or decodes):
        return ()
    rng.shuffle(prefills)
    rng.shuffle(decodes)
    turns = list(_alternate(prefills, decodes))[:limit]
    counts = [1] * len(turns)
    remaining = limit - len(turns)
    while remaining:
        growing = [i for i, (_, eligible) in enumerate(turns) if counts[i] < len(eligible)]
        if not growing:
            break
        share = max(remaining // len(growing), 1)
        for i in growing[:remaining]:
            more = min(share, len(turns[i][1]) - counts[i])
            counts[i] += more
            remaining -= more
    return tuple(
        Row(s.request, position, position - s.start, Work.PREFILL if position < s.prompt else Work.DECODE)
        for (s, eligible), count in zip(turns, counts, strict=True)
        for position in sorted(rng.sample(eligible, count))
    )


def _alternate(a: list[_T], b: list[_T]) -> Iterator[_T]:
    """Yield one of each in turn, while there are any."""
    for pair in zip_longest(a, b):
        yield from (x for x in pair if x is not None)

"""Builds breakers of four indexers, two of them Shared, and feeds them observations."""

from collections.abc import Callable
from statistics import fmean

from indexcache_core import contract
from indexcache_core.contexts import JUDGED_FROM
from indexcache_core.contract import Mode, Site, Thresholds, Work
from indexcache_core.histogram import of
from indexcache_runtime.measuring.bookings import Cell
from indexcache_runtime.measuring.breaker import Breaker

SHARED, CONTEXT = (1, 3), JUDGED_FROM
SITES = tuple(Site(index=i, layer=10 + i, domain="d", k=64) for i in range(4))
M0 = 0.5
ALL: tuple[contract.GuardrailName, ...] = ("overlap", "recall", "recall_per_indexer")


def breaker(
    alpha: float = 0.01, guardrails: tuple[contract.GuardrailName, ...] = ALL, slot: int = 1
) -> Breaker:
    thresholds = Thresholds(overlap=M0, recall=M0, recall_per_indexer=M0)
    return Breaker(contract.Breaker(alpha=alpha, guardrails=guardrails), thresholds, SHARED, slot)


def cell(site: int | None, mode: Mode = Mode.ON, context: int = CONTEXT, work: Work = Work.PREFILL) -> Cell:
    return Cell(site, context, work, mode)


def feed(
    b: Breaker,
    slot: int,
    values: dict[int, list[float]],
    mode: Mode = Mode.ON,
    context: int = CONTEXT,
    work: Work = Work.PREFILL,
) -> None:
    """Feed one look's observations of requests, by site, and their mean over the sites; overlap as recall."""
    means = [fmean(request) for request in zip(*values.values(), strict=True)]
    b.look(
        [(cell(site, mode, context, work), of(vs), of(vs)) for site, vs in [*values.items(), (None, means)]],
        slot,
    )


def looks_until_tripped(b: Breaker, draw: Callable[[int], float], looks: int, each: int = 5) -> int | None:
    for i in range(looks):
        feed(b, i // 4 + 1, {site: [draw(site) for _ in range(each)] for site in SHARED})
        if b.breach():
            return i + 1
    return None

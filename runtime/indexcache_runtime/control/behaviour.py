"""Says what an engine does from one step on, as its scheduler is told by the control. Pure."""

from dataclasses import dataclass

from indexcache_core.contract import Indexer, InFlight, Mode
from indexcache_core.digest import digest


@dataclass(frozen=True)
class Behaviour:
    """Says what the engine does from the next step on. It is the same object as long as nothing changed."""

    mode: Mode = Mode.OFF
    """off, shadow or on"""
    pattern: str = ""
    min_context_tokens: int = 0
    sample_rows: int = 0
    series: int = 0
    taint: str | None = None
    """The class of KV computed now: None is the baseline's. Equal classes come from equal computations,
    whatever their epoch."""
    in_flight: InFlight = InFlight.CONTINUE
    """What becomes of requests touched by reuse when mode on ends."""
    reach_tokens: int | None = None
    """In mode on, the longest context of a user's request that reuse reaches; None: every one."""
    indexer: Indexer = Indexer.NATIVE
    """What chooses at Full sites in steps under reuse."""


BASELINE = Behaviour()


def taint_class(pattern: str, min_context_tokens: int, indexer: Indexer) -> str:
    """Name what is computed under reuse with these flags: they alone decide which indexers may run in a step,
    and how.

    Not so the reach: who is within it computes the same, whatever it is, and nobody else has the class.
    """
    return digest([pattern, min_context_tokens, indexer], 16)

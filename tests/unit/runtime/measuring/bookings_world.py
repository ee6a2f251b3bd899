"""Tells bookings of steps, as an engine does, and keeps what they booked."""

from collections.abc import Iterator

from indexcache_core.contract import Mode, Work
from indexcache_runtime.engine import Measured, Row, StepPlan
from indexcache_runtime.measuring.bookings import Bookings, Cell, Observation

K = 64
PROMPT, DECODE = Work.PREFILL, Work.DECODE


class Engine:
    """Tells bookings what steps measured, and keeps what they booked."""

    def __init__(self) -> None:
        self.bookings = Bookings(K)
        self.booked: list[Observation] = []

    def step(
        self,
        *rows: tuple[str, int],
        recall: float = 0.5,
        overlap: float = 0.25,
        work: Work = PROMPT,
        mode: Mode = Mode.ON,
        sites: tuple[int, ...] = (1,),
    ) -> list[Observation]:
        """Add a step that measured these positions of requests, all alike. Returns what it booked."""
        values = (
            {site: [overlap] * len(rows) for site in sites},
            {site: [recall] * len(rows) for site in sites},
        )
        return self.add(rows, Measured(*values), work, mode)

    def add(
        self, rows: tuple[tuple[str, int], ...], measured: Measured, work: Work = PROMPT, mode: Mode = Mode.ON
    ) -> list[Observation]:
        """Add a step's rows. Returns what it booked."""
        plan = StepPlan(mode, "FSFS", 1, tuple(Row(name, position, 0, work) for name, position in rows))
        return self._keep(self.bookings.add(plan, measured))

    def prefilled(self, *requests: str) -> list[Observation]:
        """Note that prompts are computed. Returns what that booked."""
        return self._keep(self.bookings.prefilled(requests))

    def ended(self, *requests: str) -> list[Observation]:
        """Note that requests ended. Returns what that booked."""
        return self._keep(self.bookings.ended(requests))

    def _keep(self, observations: Iterator[Observation]) -> list[Observation]:
        found = list(observations)
        self.booked += found
        return found


def both(
    context: int, recall: float = 0.5, overlap: float = 0.25, work: Work = PROMPT, mode: Mode = Mode.ON
) -> list[Observation]:
    """Return what is booked of a request that was measured at site 1 alone: that, and the mean over sites."""
    return [Observation(Cell(site, context, work, mode), overlap, recall) for site in (1, None)]

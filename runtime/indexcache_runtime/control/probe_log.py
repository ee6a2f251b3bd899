"""Counts how each side of a pair of probes was computed: rows that reuse changes, and those of them that ran
under reuse. Pure, not thread-safe.

All requests of one side have one name, and are counted together. The last sides are kept, no more than the
contract lets travel.
"""

from indexcache_core import bounds
from indexcache_core.probe_ids import ProbeRun


class ProbeLog:
    """Counts one engine's sides of pairs of probes."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[int, int]] = {}

    def add(self, name: str, rows: int, *, reused: bool) -> None:
        """Count so many rows of one side in a step; none names the side as one that was asked."""
        name = name[: bounds.PROBE_NAME]
        before = self._rows.get(name, (0, 0))
        if name not in self._rows and len(self._rows) >= bounds.PROBE_RUNS:
            del self._rows[next(iter(self._rows))]
        self._rows[name] = (before[0] + rows, before[1] + rows * reused)

    def runs(self) -> tuple[ProbeRun, ...]:
        """Return the last sides, as the state has them."""
        return tuple(
            ProbeRun(name=name, rows=rows, reused=reused) for name, (rows, reused) in self._rows.items()
        )

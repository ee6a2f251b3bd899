"""Keeps what measuring in shadow needs of a step that a CUDA graph replays: the graph keeps it itself, for
the sampled rows.

A replay runs no Python, so nothing can be looked at between its kernels. Measured steps in shadow are
therefore replayed from graphs of their own, which copy some rows of each site's query, weights and choice, of
the places that stand on the device when they are replayed; after it those rows are scored as a prefill's are.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from indexcache_runtime.engine import REPLAYED_ROWS


class Taps:
    """Keeps the sampled rows of one worker's replayed steps."""

    def __init__(self, device: torch.device) -> None:
        self.is_capturing = False
        """A graph that keeps rows is being captured."""
        self._places = torch.zeros(REPLAYED_ROWS, dtype=torch.int64, device=device)
        """Which tokens of the step. Zeros, which every step has, but in a measured one."""
        self._set = False
        self._kept: dict[tuple[int, str], torch.Tensor] = {}
        self.bytes = self._places.nbytes
        """Device memory taken."""

    @contextmanager
    def capturing(self) -> Iterator[None]:
        """Have what runs meanwhile keep rows: first without a graph, which makes room for them, then as it is
        captured."""
        self.is_capturing = True
        try:
            yield
        finally:
            self.is_capturing = False

    def at(self, places: torch.Tensor) -> None:
        """Keep, in this step, the rows at these places: (rows,) int64, at most REPLAYED_ROWS."""
        with torch.inference_mode():
            self._places[: len(places)].copy_(places)
        self._set = True

    def reset(self) -> None:
        """Forget the places: the next step may have fewer tokens."""
        if self._set:
            with torch.inference_mode():
                self._places.zero_()
            self._set = False

    def keep(self, site: int, name: str, x: torch.Tensor) -> None:
        """Keep rows of x: (tokens, ...), any dtype that can be indexed, always the same under the same
        name."""
        rows = min(len(x), REPLAYED_ROWS)
        kept = self._kept.get((site, name))
        if kept is None:
            kept = self._kept[site, name] = x.new_empty((REPLAYED_ROWS, *x.shape[1:]))
            self.bytes += kept.nbytes
        torch.index_select(x, 0, self._places[:rows], out=kept[:rows])

    def kept(self, site: int, name: str, rows: int) -> torch.Tensor:
        """Return the first so many rows kept by the last replay."""
        return self._kept[site, name][:rows]

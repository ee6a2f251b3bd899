"""Holds what the kernel leaves between its two launches, made once and used again by call after call."""

import torch

BINS = 8192
"""As in kernel.cu."""


class Workspace:
    """Holds scores, counts and candidates of so many rows over so many keys."""

    def __init__(self, rows: int, keys: int, device: torch.device) -> None:
        """Take the memory: 8 bytes for each key of a row, and 32 KiB a row."""
        self.rows, self.keys = rows, keys
        self.scores = torch.empty((rows, keys), dtype=torch.int32, device=device)
        self.candidates = torch.empty((rows, keys), dtype=torch.int32, device=device)
        self.bins = torch.zeros((rows, BINS), dtype=torch.int32, device=device)
        self.counts = torch.zeros((rows, 4), dtype=torch.int32, device=device)

    @property
    def bytes(self) -> int:
        """Return the device memory that it holds."""
        return sum(x.nbytes for x in (self.scores, self.candidates, self.bins, self.counts))

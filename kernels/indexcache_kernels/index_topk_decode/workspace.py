"""Holds what the kernel leaves between its two launches, made once and used again by call after call."""

import torch

BINS = 8192
"""As in kernel.cu."""


class Workspace:
    """Holds scores of so many rows over so many keys, and counts of them."""

    def __init__(self, rows: int, keys: int, device: torch.device) -> None:
        """Take the memory: 4 bytes for each key of a row, and 32 KiB a row.

        keys: up to three more are held, as the kernel reads four scores at once.
        """
        self.rows, self.keys = rows, -(-keys // 4) * 4
        self.scores = torch.empty((rows, self.keys), dtype=torch.int32, device=device)
        self.bins = torch.zeros((rows, BINS), dtype=torch.int32, device=device)

    @property
    def bytes(self) -> int:
        """Return the device memory that it holds."""
        return self.scores.nbytes + self.bins.nbytes

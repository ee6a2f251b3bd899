"""Processes known by id and start time, so that an id that the kernel gave away again is never mistaken, let
alone killed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import TestbedError

REAPED_SECONDS = 5


def start_time(stat: str) -> int:
    """Start time, in clock ticks since boot, of a /proc/PID/stat line. The name, in parentheses, may hold
    anything.
    """
    return int(stat.rpartition(")")[2].split()[19])


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this machine."""

    pid: int
    started: int
    """Clock ticks since boot."""

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """Return the living process of this id."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # A zombie has ended: only its parent has not asked yet.
        return None if stat.rpartition(")")[2].split()[0] in "ZX" else cls(pid, start_time(stat))

    @classmethod
    def recorded(cls, file: Path) -> Process | None:
        """Return the process that wrote its /proc/self/stat line into `file`; None if there is no file, or
        that process has ended.
        """
        try:
            stat = file.read_text()
        except FileNotFoundError:
            return None
        if ")" not in stat:
            return None  # killed before it wrote
        now = cls.of(int(stat.split()[0]))
        return now if now and now.started == start_time(stat) else None

    def alive(self) -> bool:
        """Return whether it still runs."""
        return Process.of(self.pid) == self

    def children(self) -> list[Process]:
        """Return its living children."""
        try:
            pids = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            return []
        return [child for child in map(Process.of, map(int, pids)) if child]

    def kill(self) -> None:
        """Send SIGKILL, if it still runs."""
        if self.alive():
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    def wait(self, seconds: float) -> None:
        """Wait for its end, and a little for its parent to take note: a zombie holds nothing, but `ps` shows
        it.

        Raises:
            TestbedError: it still runs after `seconds`.
        """
        if not _until(lambda: not self.alive(), seconds):
            raise TestbedError(
                f"process {self.pid} still runs {seconds:.0f} s after SIGKILL; look at /proc/{self.pid}/stack"
            )
        # Whether it is reaped is up to its parent, the machine's first process; not to be had is no error.
        _until(lambda: not Path(f"/proc/{self.pid}").exists(), REAPED_SECONDS)


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True

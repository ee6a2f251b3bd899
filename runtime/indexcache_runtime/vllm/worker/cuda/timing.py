"""Measures where the time of a prefill step goes: indexer, core attention, the rest, by events on the device.

Taken on some steps only, of those that Python runs, and read once they are over: an event costs about a
microsecond of the host, three a layer, beside steps of tens of milliseconds and more.
"""

from typing import Any

import torch

from indexcache_runtime.engine import Measured, Parts, Pending
from indexcache_runtime.vllm.worker.cuda import indexer_call


class Events:
    """Hands out events on the device that tell time. They are used again."""

    def __init__(self) -> None:
        self._free: list[Any] = []

    def mark(self) -> Any:
        """Return an event that is recorded now."""
        event = self._free.pop() if self._free else torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def seconds(self, marks: list[Any]) -> float:
        """Return the time between each two. They are used again from here on."""
        if marks:
            marks[-1].synchronize()
        seconds = float(sum(a.elapsed_time(b) for a, b in zip(marks[::2], marks[1::2], strict=True))) / 1000
        self._free += marks
        return seconds


class Timer:
    """Times one worker's steps, by part."""

    def __init__(self) -> None:
        self._events = Events()
        self._marks: dict[str, list[Any]] = {}

    def begin(self) -> None:
        """Take the time of this step."""
        indexer_call.time_by(self, True)
        self._marks = {"step": [], "layer": [], "indexer": []}

    def mark(self, part: str) -> None:
        """Note that a part begins or ends: step, layer (indexer and attention of one), indexer."""
        self._marks[part].append(self._events.mark())

    def stop(self) -> None:
        """Take no more time of this step."""
        indexer_call.time_by(self, False)

    def take(self) -> Pending | None:
        """Return the times, now that the step's work was handed over; to be read once it is done."""
        if not indexer_call.is_timed_by(self):
            return None
        self.stop()
        if not self._marks["step"]:  # the step had no forward
            return None
        self.mark("step")
        marks, self._marks = self._marks, {}

        def read() -> Measured:
            seconds = {part: self._events.seconds(events) for part, events in marks.items()}
            layers = seconds["layer"]
            return Measured(
                parts=Parts(
                    seconds["indexer"], layers - seconds["indexer"], max(seconds["step"] - layers, 0.0)
                )
            )

        return read

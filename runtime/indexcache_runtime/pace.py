"""Which steps are measured and which are timed, where that is not free. Pure; the engine core asks once a step.

A step that CUDA graphs would replay must run without them to be measured, which takes it two or three times as long: so one in
GRAPHED_EVERY is, the first one among them. A step that runs without graphs anyway is measured whenever it has rows to measure.
"""

from dataclasses import dataclass

GRAPHED_EVERY = 512
"""Of the steps that graphs would replay, one in so many is measured: at three times its length that costs 0.4 % of decoding time."""

TIMED_EVERY = 16
"""Of the steps that no graph runs, one in so many is timed instead of measured."""


@dataclass
class Pace:
    """One engine's."""

    graphed_tokens: int = 0
    """Steps of at most so many tokens are replayed from graphs; 0: none is."""
    timed: bool = False
    """Whether steps can be timed."""
    _graphed: int = 0
    _long: int = 0

    def measure(self, tokens: int) -> bool:
        """Whether a step of so many tokens, with something to measure, is measured."""
        if tokens > self.graphed_tokens:
            return True
        self._graphed += 1
        return self._graphed % GRAPHED_EVERY == 1

    def time(self, tokens: int) -> bool:
        """Whether a step of so many tokens is timed."""
        if not self.timed or tokens <= self.graphed_tokens:
            return False
        self._long += 1
        return self._long % TIMED_EVERY == 1

"""Chooses which prefill steps are timed, by part, instead of measured. Pure; the engine core asks once a
step."""

from dataclasses import dataclass

TIMED_EVERY = 16
"""Of prefill steps, one in so many is timed instead of measured."""

PREFILL_TOKENS = 2048
"""A step of at least so many tokens is a prefill step."""


@dataclass
class TimedPrefills:
    """Chooses one engine's prefill steps that are timed."""

    graphed_tokens: int = 0
    """Steps of at most so many tokens may be replayed from graphs, and can't be timed; 0: none is."""
    timed: bool = False
    """Whether steps can be timed at all."""
    _prefills: int = 0

    def includes(self, tokens: int) -> bool:
        """Return whether the step about to be scheduled, of so many tokens, is timed. Asked once for each
        step."""
        if not self.timed or tokens <= self.graphed_tokens or tokens < PREFILL_TOKENS:
            return False
        self._prefills += 1
        return self._prefills % TIMED_EVERY == 1

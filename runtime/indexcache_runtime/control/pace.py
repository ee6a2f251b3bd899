"""Bounds how fast strangers are served: a share of one processor, whatever they send. Pure."""


class Pace:
    """Keeps an account of processor time: it fills with the clock, up to a burst, and empties with what was
    used."""

    def __init__(self, *, share: float, burst_seconds: float, now: float) -> None:
        self._share, self._burst, self._left, self._at = share, burst_seconds, burst_seconds, now

    def used(self, seconds: float) -> None:
        """Note processor time that was used."""
        self._left -= seconds

    def pause(self, now: float) -> float:
        """Return how many seconds to wait from now on, until the account is not overdrawn."""
        self._left = min(self._burst, self._left + (now - self._at) * self._share)
        self._at = now
        return max(-self._left / self._share, 0.0)

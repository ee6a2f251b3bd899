"""Holds what came of each request, and what that amounts to."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

REUSE_STATE = "on"


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of one request."""

    asked_at: float
    """Seconds of time.monotonic()."""
    seconds: float
    status: int
    """HTTP status; 0 if the connection broke."""
    right: bool
    pairs: int
    tokens: int
    pod: str
    """The engine that answered, by its own word; empty if none did."""
    state: str
    """That engine's mode when it answered."""
    error: str = ""

    @property
    def failed(self) -> bool:
        return self.status != 200


@dataclass(frozen=True)
class Tally:
    """Answers of one kind."""

    asked: int
    failed: int
    right: int
    seconds_median: float | None

    @property
    def share_right(self) -> float | None:
        """Return the share that is right of those answered; None without any."""
        answered = self.asked - self.failed
        return self.right / answered if answered else None


def tally(answers: Iterable[Answer]) -> Tally:
    """Count them."""
    kept = list(answers)
    times = sorted(a.seconds for a in kept if not a.failed)
    return Tally(
        asked=len(kept),
        failed=sum(a.failed for a in kept),
        right=sum(a.right for a in kept),
        seconds_median=times[len(times) // 2] if times else None,
    )


def failures(answers: Iterable[Answer]) -> Counter[str]:
    """Count what the failed ones said."""
    return Counter(f"{a.status} {a.error}".strip() for a in answers if a.failed)

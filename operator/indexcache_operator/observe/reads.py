"""Reads of one look that may fail each by itself: what can't be read is unknown, and is named."""

from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Readings:
    """The reads of one look."""

    def __init__(self) -> None:
        self._failed: list[str] = []

    async def maybe(self, what: str, reading: Awaitable[T], otherwise: T) -> T:
        """Return what a read brings, or `otherwise` if it fails, for whatever reason; `what` is how the
        failure is named.
        """
        try:
            return await reading
        except Exception as error:  # noqa: BLE001 (an object of a kind that nobody thought of must not stop a kill either)
            self._failed.append(f"{what}: {str(error) or type(error).__name__}")
            return otherwise

    def failed(self) -> tuple[str, ...]:
        """Return what could not be read, and why, in order of names."""
        return tuple(sorted(self._failed))

"""Keeps what fails of ours in the middle of the model's step until that step is over: it goes on,
which doesn't need it. Pure."""

from collections.abc import Iterator
from contextlib import contextmanager


class Failure:
    """Keeps the last exception that was raised, if any."""

    def __init__(self) -> None:
        self._error: Exception | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what is raised meanwhile."""
        try:
            yield
        except Exception as e:  # noqa: BLE001  # raised by `check`
            self._error = e

    def check(self) -> None:
        """Raise what was kept."""
        if self._error is not None:
            raise self._error

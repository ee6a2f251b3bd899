"""Progress as lines: each step, its seconds and, where it takes long, an estimate first.

Plain lines, because they are read in a terminal, in a log of CI and from several threads alike.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape


class Reporter:
    """Prints steps. Safe to use from several threads: a line is written whole."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Say something that is no step's end."""
        self.console.print(f"  [dim]{escape(text)}[/]")

    @contextmanager
    def step(self, title: str, *, about: str = "") -> Iterator[None]:
        """Report a step's title and how long it took. `about` is the estimate ("about 6 minutes"); with it
        the step is announced before it begins.
        """
        if about:
            self.note(f"{title}: {about} the first time")
        start = time.monotonic()
        try:
            yield
        except BaseException:
            self.console.print(f"[red]✗[/] {escape(title)} [dim]after {time.monotonic() - start:.1f} s[/]")
            raise
        self.console.print(f"[green]✓[/] {escape(title)} [dim]{time.monotonic() - start:.1f} s[/]")

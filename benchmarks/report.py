"""A benchmark's file of results: {hardware, versions, commit, command, date, rows: [{name, value, unit,
samples, ..., commit, date, hardware, command}]}; what stands over the rows is of the last run.
"""

import fcntl
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class Report:
    """Rows by name, put into the file at once, so that a run that is interrupted loses nothing. Rows of
    earlier runs stay, and of others that write the same file meanwhile.
    """

    def __init__(self, path: Path, command: str, of_commit: str = "", kind: str = "") -> None:
        """Report to the file at `path`.

        of_commit: of the code that runs, where no git tells. kind: what sets this run apart from others that
        write the same rows; its rows' names end with it.
        """
        self.path, self.command, self.commit, self.kind = path, command, of_commit or commit(), kind
        self._head: dict[str, Any] = {}
        self._under: dict[str, str] = {}
        self._held = 0

    @property
    def data(self) -> dict[str, Any]:
        """Return what is in the file."""
        found: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {"rows": []}
        return found

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody else write the file for the time of a block. May be asked for again within."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._held += 1
        folder = os.open(self.path.parent, os.O_RDONLY) if self._held == 1 else None
        try:
            if folder is not None:
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            self._held -= 1
            if folder is not None:
                os.close(folder)

    def begin(self, hardware: str, versions: dict[str, str]) -> None:
        """Say what the rows to come are measured on."""
        date = datetime.now(UTC).strftime("%Y-%m-%d")
        self._head = {
            "hardware": hardware,
            "versions": versions,
            "commit": self.commit,
            "command": self.command,
            "date": date,
        }

    def under(self, arm: str, what: str) -> None:
        """Say under what an arm runs from here on: it ends the unit of each row of the stage."""
        self._under[arm] = what

    def stage(self) -> None:
        """Begin a stage, of arms of its own."""
        self._under.clear()

    def named(self, name: str) -> str:
        """Return the name in the file of this run's row."""
        return f"{name}_{self.kind}" if self.kind else name

    def find(self, name: str, *, same_commit: bool) -> dict[str, Any] | None:
        """Return a row that is in the file, if it is there; `same_commit`: only if the code that runs made
        it."""
        found = next((r for r in self.data["rows"] if r["name"] == self.named(name)), None)
        return found if found is not None and (not same_commit or found["commit"] == self.commit) else None

    def row(self, name: str, value: float, unit: str, samples: Any, **more: Any) -> None:
        """Put a row into the file, in place of one of that name."""
        made = {key: self._head[key] for key in ("commit", "date", "hardware", "command")}
        unit = ", ".join([unit, *self._conditions()])
        row = {
            "name": self.named(name),
            "value": round(value, 5),
            "unit": unit,
            "samples": samples,
            **more,
            **made,
        }
        with self.alone():
            rows = [r for r in self.data["rows"] if r["name"] != row["name"]]
            self.path.write_text(json.dumps({**self._head, "rows": [*rows, row]}, indent=1) + "\n")
        say(
            f"{row['name']:32} {value:10.4f} {unit} "
            + " ".join(f"{key} {x}" for key, x in more.items() if isinstance(x, float))
        )

    def _conditions(self) -> list[str]:
        """Return what all arms run under, or what each of them does."""
        if len(set(self._under.values())) == 1:
            return [next(iter(self._under.values()))]
        return [f"{arm} {what}" for arm, what in sorted(self._under.items())]


def commit() -> str:
    """Return the commit of the code that runs; with a plus sign if files differ from it."""
    try:
        head, changed = (
            subprocess.run(
                ["git", *args], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
            ).stdout.strip()
            for args in (
                ["rev-parse", "--short=12", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no"],
            )
        )
    except (OSError, subprocess.CalledProcessError) as e:
        raise SystemExit(
            f"benchmark: git can't tell which commit runs ({e}); run it in a checkout, or tell it with "
            "--commit"
        ) from e
    return head + "+" * bool(changed)


def say(text: str) -> None:
    """Print a line, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def interval(
    statistic: Callable[[Sequence[int]], float], samples: int, draws: int = 2000
) -> tuple[float, float]:
    """Return a bootstrap interval of 95 % (percentiles) of a statistic, which is given which of the samples
    to take, by number.
    """
    rng = random.Random(0)
    values = sorted(statistic(rng.choices(range(samples), k=samples)) for _ in range(draws))
    return round(values[int(0.025 * draws)], 5), round(values[int(0.975 * draws)], 5)

"""Removes environments that nobody needs: of old locks and sources, and of checkouts that are gone.

Never done by the way, only by `make clean-cache`: an environment costs little disk beside its neighbours,
whose files it shares.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import engine_environment
from .layout import Layout

LINKS = ("uv", "dependencies")
"""In a checkout's environment, those to the environments that it is made with and lies over."""


@dataclass(frozen=True, slots=True)
class Place:
    """An environment, and what became of it."""

    path: Path
    kept: bool
    why: str


def clean(layout: Layout) -> list[Place]:
    """Remove what nobody needs; return every environment and why it stays or goes."""
    everything = [*layout.checkouts.glob("*/*/"), *layout.environments.glob("*/")]
    used = in_use(everything, mentions())
    wanted = needed(layout, used)
    places = []
    for path in sorted(everything):
        kept = path in wanted
        places.append(Place(path, True, wanted[path]) if kept else _removed(path, _lack(layout, path)))
    return places


def needed(layout: Layout, used: Mapping[Path, str]) -> dict[Path, str]:
    """Return the environments that somebody needs, and who.

    Args:
        layout: where they lie.
        used: those that processes use, and what to say of that.
    """
    own = {path: f"of the checkout {(path / 'checkout').resolve()}" for path in _last_used(layout)}
    own |= {path: used[path] for path in layout.checkouts.glob("*/*/") if path in used}
    links = [(path / link, why) for path, why in own.items() for link in LINKS]
    under = {link.resolve(): why for link, why in links if link.exists()}
    engines = {}
    for path in own:
        checkout = (path / "checkout").resolve()
        if (checkout / "requirements/engine.txt").exists():
            place = engine_environment.place(Layout(layout.cache, checkout=checkout))
            engines[place] = f"made of the sources of {checkout}"
    for record in (layout.cache / "clusters").glob("*/state/built.json"):
        if engine := json.loads(record.read_text()).get("engine"):
            engines[Path(engine)] = f"mounted by the testbed {record.parts[-3]}"
    return {**engines, **under, **own, **used}


def _last_used(layout: Layout) -> Iterator[Path]:
    """Yield, of each checkout that still exists, the environment that it used last."""
    for checkout in layout.checkouts.glob("*/"):
        whole = [path.parent for path in checkout.glob("*/.whole") if (path.parent / "checkout").exists()]
        if whole:
            yield max(whole, key=lambda path: (path / ".whole").stat().st_mtime)


def mentions(proc: Path = Path("/proc")) -> dict[int, str]:
    """Return, by process, its command line and the list of files it has mapped: they name what it uses."""
    found = {}
    for process in proc.glob("[0-9]*"):
        try:
            texts = [(process / name).read_text(errors="replace") for name in ("cmdline", "maps")]
        except (FileNotFoundError, ProcessLookupError, PermissionError):  # it ended, or is another user's
            continue
        found[int(process.name)] = "".join(texts)
    return found


def in_use(paths: Iterable[Path], texts: Mapping[int, str]) -> dict[Path, str]:
    """Return those paths that processes use, and which."""
    used = {path: sorted(pid for pid, text in texts.items() if f"{path}/" in text) for path in paths}
    return {path: f"used by process {', '.join(map(str, pids))}" for path, pids in used.items() if pids}


def _lack(layout: Layout, path: Path) -> str:
    if path.is_relative_to(layout.checkouts):
        if (path / "checkout").exists():
            return "another one was used since by its checkout"
        return f"its checkout, {(path / 'checkout').readlink()}, is gone"
    return "no checkout, no process and no testbed needs it"


def _removed(path: Path, why: str) -> Place:
    """Remove an environment, unless a make is just making it."""
    with path.with_name(f"{path.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return Place(path, True, "being made")
        shutil.rmtree(path)
    return Place(path, False, why)

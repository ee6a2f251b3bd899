"""The parent of the pods' control groups: the one thing of a cluster that no namespace takes with it.

Version 1 (a hierarchy for each controller) and version 2 (one) are served alike; which one it is, the file
system says.
"""

from __future__ import annotations

import time
from pathlib import Path

from .errors import TestbedError

ROOT = Path("/sys/fs/cgroup")


def parents(name: str, root: Path = ROOT) -> list[Path]:
    """Return the directories that stand for the group `name` (with a leading slash), one a hierarchy."""
    relative = name.lstrip("/")
    if is_unified(root):
        return [root / relative]
    return [
        hierarchy / relative
        for hierarchy in sorted(root.iterdir())
        if hierarchy.is_dir() and not hierarchy.is_symlink()
    ]


def is_unified(root: Path = ROOT) -> bool:
    """Return whether the machine has version 2 alone."""
    return (root / "cgroup.controllers").exists()


def create(name: str, root: Path = ROOT) -> None:
    """Make the group in every hierarchy, with the controllers that a kubelet needs.

    Raises:
        TestbedError: version 2 does not give its controllers to children here.
    """
    if is_unified(root):
        try:
            (root / "cgroup.subtree_control").write_text("+cpu +memory +pids +cpuset +io")
        except OSError as error:
            raise TestbedError(
                f"{root}/cgroup.subtree_control: {error.strerror}; in a container, start the container with "
                "the host's cgroup namespace"
            ) from error
    for group in parents(name, root):
        group.mkdir(exist_ok=True)
        # A new cpuset of version 1 is empty and takes no process.
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not is_unified(root) and (group / file).exists():
                (group / file).write_text((group.parent / file).read_text())


def remove(name: str, root: Path = ROOT, *, seconds: float = 20) -> None:
    """Remove the group and all below it, children first; waits until the kernel counts them as empty.

    Raises:
        TestbedError: a process is still in one of them after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while left := [group for group in parents(name, root) if group.exists()]:
        busy = [group for parent in left for group in _remove_below(parent)]
        if busy and time.monotonic() > deadline:
            raise TestbedError(
                f"{busy[0]}: still in use after {seconds:.0f} s; processes: "
                f"{(busy[0] / 'cgroup.procs').read_text().split()}"
            )
        if busy:
            time.sleep(0.05)


def _remove_below(parent: Path) -> list[Path]:
    """Remove what can be removed; return what could not."""
    busy = []
    directories = [path for path in parent.rglob("*") if path.is_dir()]
    for group in [*sorted(directories, key=lambda path: len(path.parts), reverse=True), parent]:
        try:
            group.rmdir()
        except OSError:  # not empty yet: a process that is ending, or a child that holds one
            busy.append(group)
    return busy

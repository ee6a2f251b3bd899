"""Says whose the cluster is: the checkout that it was last brought to, and the commands that run in it now.

A cluster's name is one for all checkouts. The one that asks gets it, unless a command of another one runs in
it: then it is refused.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import TestbedError
from .handle import Cluster


def owner(cluster: Cluster) -> Path | None:
    """Return the checkout that the cluster was brought to; None if it was to none."""
    try:
        recorded = json.loads(cluster.layout.started_from.read_text())
    except FileNotFoundError:
        return None
    return Path(recorded["checkout"]) if "checkout" in recorded else None


def hold(cluster: Cluster) -> None:
    """Keep other checkouts from taking the cluster while this process lives, and what it becomes by exec.

    Raises:
        TestbedError: it does not run, or is another checkout's.
    """
    if cluster.init() is None:
        raise cluster.not_running()
    # Left open where the cluster is ours: the kernel lets go of it with the process.
    lock = os.open(cluster.layout.use, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(lock, fcntl.LOCK_SH)
    os.set_inheritable(lock, True)
    found = owner(cluster)
    if found != cluster.layout.checkout:
        os.close(lock)
        this = cluster.layout
        brought = f"the testbed {this.name} was brought to {found}, this is {this.checkout}"
        raise TestbedError(f"{brought}; bring it here with `make up`")


@contextmanager
def taken(cluster: Cluster) -> Iterator[None]:
    """Take the cluster for this checkout, and let no command begin in it meanwhile.

    Raises:
        TestbedError: it is another checkout's, and commands of that one run in it.
    """
    found = owner(cluster)
    if found in (None, cluster.layout.checkout):
        yield
        return
    with cluster.layout.use.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            using = "; ".join(holders(cluster.layout.use))
            raise TestbedError(
                f"the testbed {cluster.layout.name} is in use by the checkout {found}: {using}; "
                "wait until that has ended, or end the testbed with `make down`"
            ) from None
        yield


def holders(file: Path, locks: Path = Path("/proc/locks")) -> list[str]:
    """Return the command lines of the processes that hold a lock on a file, by the kernel's list of locks."""
    inode = file.stat().st_ino
    rows = [line.split() for line in locks.read_text().splitlines()]
    flocks = [row for row in rows if row[1] == "FLOCK"]
    pids = sorted({int(row[4]) for row in flocks if row[5].rpartition(":")[2] == str(inode)})
    return [f"process {pid}, {words}" for pid in pids if (words := _command_line(pid))]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()[:120]
    except (FileNotFoundError, ProcessLookupError):  # it has ended, and a child of it holds on
        return ""

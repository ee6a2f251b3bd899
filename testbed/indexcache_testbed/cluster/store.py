"""Images in the cluster's containerd. An image is imported when its digest there is not that of the archive.

Trap: `ctr image import --index-name` fails at random ("content digest ...: not found"); the archive carries
the full name anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from . import buildah
from .handle import Cluster
from .shell import run


def parse_images(listing: str) -> dict[str, str]:
    """Return digests by name, of the table that `ctr images ls` prints."""
    rows = (line.split() for line in listing.splitlines()[1:])
    return {row[0]: row[2] for row in rows if len(row) > 2}


def _ctr(cluster: Cluster, *words: str | Path) -> str:
    return run(["ctr", "-a", cluster.layout.containerd_socket, "-n", "k8s.io", *words], timeout=120)


def images(cluster: Cluster) -> dict[str, str]:
    """Return digests by name, of the images in the cluster."""
    return parse_images(_ctr(cluster, "images", "ls"))


def unused(there: Mapping[str, str], used: Iterable[str], repository: str, keep: str) -> list[str]:
    """Return the names of a repository's images but `keep`, those that containers use excepted; with the
    names by digest that go with them.
    """
    others = {name for name in there if name.startswith(f"{repository}:") and name != keep}
    goes = {there[name] for name in others - set(used)} - {
        there[name] for name in there if name == keep or name in set(used)
    }
    return [name for name, digest in there.items() if digest in goes]


def forget(cluster: Cluster, repository: str, keep: str) -> None:
    """Remove what `unused` says."""
    rows = (line.split() for line in _ctr(cluster, "containers", "ls").splitlines()[1:])
    for name in unused(images(cluster), [row[1] for row in rows if len(row) > 1], repository, keep):
        _ctr(cluster, "images", "rm", name)


def import_archives(cluster: Cluster, archives: Iterable[Path]) -> list[Path]:
    """Import those archives whose image is missing or different, and return them."""
    there = set(images(cluster).values())
    new = [archive for archive in archives if buildah.archive_digest(archive) not in there]
    for archive in new:
        _ctr(cluster, "images", "import", archive)
    return new

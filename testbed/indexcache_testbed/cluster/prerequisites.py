"""Checks what must be there before anything is fetched or built: Linux, root, disk, namespaces, Debian's
packages.

    python -m indexcache_testbed.cluster.prerequisites CACHE [environment]

Each lack is told in one line. With `environment`, it is what Python's environment alone needs; else what the
testbed needs, and Debian's packages are installed. Nothing but Python's own library is used.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import CommandError, TestbedError
from .shell import run

# package: a program or file that shows that it (or something as good, from elsewhere) is there
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "iptables",
    "iproute2": "ip",
    "conntrack": "conntrack",
    "libnuma1": "/usr/lib/x86_64-linux-gnu/libnuma.so.1",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
}
BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
CGROUPS = Path("/sys/fs/cgroup")
COLD_GIB, WARM_GIB, ENVIRONMENT_GIB = 20, 3, 12
NAMESPACES = "unshare --net --pid --mount --fork --mount-proc --propagation private true"


def missing_packages() -> list[str]:
    """Return the Debian packages whose programs are not found."""
    # Debian's sbin is not on every PATH of root.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    return [
        package
        for package, mark in PACKAGES.items()
        if not (Path(mark).exists() if mark.startswith("/") else shutil.which(mark, path=path))
    ]


def require_root(doing: str) -> None:
    """Refuse where namespaces, mounts and containers are not to be had.

    Raises:
        TestbedError: this is not Linux, or the user is not root.
    """
    for lack in _of_the_user(doing):
        raise TestbedError(lack)


def is_cold(cache: Path) -> bool:
    """Return whether the environment or the testbed's binaries were never made in this cache."""
    made = [*cache.glob("env/dev-*/.whole")], [*cache.glob("testbed/go-*/kube-apiserver")]
    return not all(made)


def lacks(cache: Path, *, gib: int) -> list[str]:
    """Return what the testbed lacks on this machine, a line for each thing, with what to do about it.

    Args:
        cache: where the cache lies, or will; its disk is looked at.
        gib: how much of it must be free.
    """
    of_the_user = list(_of_the_user("the testbed"))
    # Without root the others can't be told from the lack of root.
    of_the_kernel = [] if of_the_user else _of_the_kernel()
    return [*of_the_user, *_of_the_disk(cache, gib), *of_the_kernel, *_of_the_packages()]


def check(cache: Path, *, gib: int) -> None:
    """Make sure of all that the testbed needs; install Debian's packages if they alone are missing.

    Raises:
        TestbedError: something is missing that can't be installed from here; a line for each.
    """
    _refuse(lacks(cache, gib=gib))
    if missing := missing_packages():
        _install(missing)


def _refuse(found: Iterable[str]) -> None:
    if text := "\n".join(found):
        raise TestbedError(text)


def _of_the_user(doing: str) -> Iterator[str]:
    if not sys.platform.startswith("linux"):
        yield f"{doing} needs Linux (namespaces, cgroups); this is {sys.platform}"
    elif os.geteuid() != 0:
        yield f"{doing} needs root (namespaces, mounts, containers); run it with sudo"


def _of_the_disk(cache: Path, gib: int) -> Iterator[str]:
    there = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(there).free / 2**30
    if free < gib:
        found = f"{cache}: {free:.0f} GiB free, {gib} GiB needed"
        yield f"{found}; free some, or set INDEXCACHE_CACHE to a directory elsewhere"


def _of_the_kernel() -> Iterator[str]:
    try:
        run(NAMESPACES.split())
    except (CommandError, OSError) as error:
        said = str(error).splitlines()[-1]
        yield f"namespaces can't be made ({NAMESPACES}: {said}); in a container, start it privileged"
    if not os.access(CGROUPS, os.W_OK):
        yield f"{CGROUPS} can't be written to; in a container, start it privileged"
    if not BRIDGE_FILTER.exists():
        # Without it an answer between pods through a Service skips iptables and comes from the wrong address.
        try:
            run(["modprobe", "br_netfilter"])
        except (CommandError, OSError):
            yield f"{BRIDGE_FILTER} is missing, and the kernel module br_netfilter can't be loaded; load it"


def _of_the_packages() -> Iterator[str]:
    if not shutil.which("apt-get"):
        for package in missing_packages():
            yield f"{package} is not installed (Debian's name of it), and there is no apt-get to do it"


def _install(packages: list[str]) -> None:
    command = f"apt-get install --no-install-recommends {' '.join(packages)}"
    print(f"installing Debian packages: {' '.join(packages)}", flush=True)
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        run(["apt-get", "update", "-q"], env=environment)
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
        run(install, env=environment, timeout=900)
    except CommandError as error:
        raise TestbedError(f"could not install Debian packages; run `{command}`\n{error}") from error
    _refuse(f"{package}: installed, yet not found; install it by hand" for package in missing_packages())


def main(cache: Path, *, environment: bool) -> None:
    """Check, and end with a line for each thing that is missing and status 1."""
    try:
        if environment:
            _refuse(_of_the_disk(cache, ENVIRONMENT_GIB))
        else:
            check(cache, gib=COLD_GIB if is_cold(cache) else WARM_GIB)
    except TestbedError as error:
        sys.exit("\n".join(f"missing: {line}" for line in str(error).splitlines()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), environment=sys.argv[2:] == ["environment"])

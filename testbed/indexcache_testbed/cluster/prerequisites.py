"""What must be there before anything is built: Linux, root, disk, Debian's packages. Each lack is told in one line."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from .errors import CommandError, TestbedError
from .report import Reporter
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
COLD_GIB, WARM_GIB = 20, 3


def missing_packages() -> list[str]:
    """Debian packages whose programs are not found."""
    # Debian's sbin is not on every PATH of root.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    return [
        package
        for package, mark in PACKAGES.items()
        if not (Path(mark).exists() if mark.startswith("/") else shutil.which(mark, path=path))
    ]


def require_root(doing: str) -> None:
    """Refuse where namespaces, mounts and containers are not to be had."""
    if not sys.platform.startswith("linux"):
        raise TestbedError(f"{doing} needs Linux (namespaces, cgroups); this is {sys.platform}")
    if os.geteuid() != 0:
        raise TestbedError(f"{doing} needs root (namespaces, mounts, containers); run it with sudo")


def check(cache: Path, *, cold: bool, report: Reporter) -> None:
    """Make sure of all prerequisites; install Debian's packages where they are missing.

    Args:
        cache: where the cache lies; its disk is looked at.
        cold: nothing was built so far, which takes 20 GiB; else 3.

    Raises:
        TestbedError: something is missing that can't be installed from here.
    """
    require_root("the testbed")
    cache.mkdir(parents=True, exist_ok=True)
    free, need = shutil.disk_usage(cache).free / 2**30, COLD_GIB if cold else WARM_GIB
    if free < need:
        raise TestbedError(f"{cache}: {free:.0f} GiB free, {need} GiB needed; free some, or set INDEXCACHE_CACHE to a directory elsewhere")
    if missing := missing_packages():
        _install(missing, report)
    if not BRIDGE_FILTER.exists():
        _load_bridge_filter()


def _install(packages: list[str], report: Reporter) -> None:
    command = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if not shutil.which("apt-get"):
        raise TestbedError(f"missing: {', '.join(packages)} (Debian's names); install them, on Debian with `{command}`")
    with report.step(f"Debian packages: {' '.join(packages)}", about="about a minute"):
        environment = {"DEBIAN_FRONTEND": "noninteractive"}
        try:
            run(["apt-get", "update", "-q"], env=environment)
            run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages], env=environment, timeout=900)
        except CommandError as error:
            raise TestbedError(f"could not install Debian packages; run `{command}`\n{error}") from error
    if still := missing_packages():
        raise TestbedError(f"installed, yet not found: {', '.join(still)}; install them by hand")


def _load_bridge_filter() -> None:
    """Without it an answer from one pod to another through a Service skips iptables and comes from the wrong address."""
    try:
        run(["modprobe", "br_netfilter"])
    except (CommandError, OSError) as error:
        raise TestbedError(
            f"{BRIDGE_FILTER} is missing and the kernel module br_netfilter can't be loaded; load it, then try again"
        ) from error

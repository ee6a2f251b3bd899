"""buildah with a store of its own, in a mount namespace of its own: what it mounts is never seen outside a
call.

Traps: `--pull=never` alone is sure not to try a registry for a missing base; RUN sees a clean environment, so
where the machine trusts a certificate authority of its own, its bundle and pip's configuration are mounted
into builds, not baked into images.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from .errors import TestbedError
from .layout import Layout
from .shell import run, with_private_mounts

# Present in builds only: RUN reaches package registries as the machine does.
BUILD_MOUNTS = ("/etc/ssl/certs", "/etc/pip.conf")


def archive_name(image: str) -> str:
    """Return a file name for an image's archive."""
    return image.replace("/", "_").replace(":", "_") + ".tar"


def command(layout: Layout, *words: str | Path) -> list[str]:
    """Return a buildah command line on the testbed's own store."""
    store = layout.artifacts / "buildah"
    return with_private_mounts(["buildah", "--root", store / "root", "--runroot", store / "run", *words])


def build(
    layout: Layout,
    image: str,
    context: Path,
    *,
    dockerfile: Path | None = None,
    target: str | None = None,
    arguments: Mapping[str, str] | None = None,
    reproducible: bool = False,
    timeout: float = 1800,
) -> str:
    """Build a Dockerfile on bases that are already in the store, and return the image's id.

    Args:
        image: the name it gets. context: what COPY can reach. dockerfile: default: `context`/Dockerfile.
        target: the stage to build; default: the last one. arguments: values of ARG. reproducible: files carry
        one fixed time and no layer is cached, so that the same content has the same digest; else layers are
            cached, so that a second build runs only what changed.

    Raises:
        CommandError: the build failed.
    """
    words: list[str | Path] = [
        "bud",
        "--isolation",
        "chroot",
        "--pull-never",
        "-q",
        "-t",
        image,
        "-f",
        dockerfile or context / "Dockerfile",
    ]
    words += ["--timestamp", "0", "--layers=false"] if reproducible else ["--layers=true"]
    for mount in BUILD_MOUNTS:
        if Path(mount).exists():
            words += ["-v", f"{mount}:{mount}:ro"]
    if target:
        words += ["--target", target]
    for name, value in (arguments or {}).items():
        words += ["--build-arg", f"{name}={value}"]
    said = run(command(layout, *words, context), timeout=timeout).split()
    if not said:
        raise TestbedError(f"buildah built {image} and named no id")
    return said[-1]


def export(layout: Layout, image: str, archive: Path) -> None:
    """Write an image to an OCI archive; uncompressed, as it never leaves the machine and is read more often
    than written.
    """
    unfinished = archive.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    archive.parent.mkdir(parents=True, exist_ok=True)
    run(command(layout, "push", "-q", "--disable-compression", image, f"oci-archive:{unfinished}:{image}"))
    unfinished.rename(archive)


def remove(layout: Layout, image: str) -> None:
    """Drop an image from the store."""
    run(command(layout, "rmi", image))


def names(layout: Layout) -> list[str]:
    """Return the full names of the images in the store."""
    return run(command(layout, "images", "--format", "{{.Name}}:{{.Tag}}")).split()


def archive_digest(archive: Path) -> str:
    """Return the digest of the manifest in an OCI archive, by which containerd knows the image."""
    with tarfile.open(archive) as tar:
        index = tar.extractfile("index.json")
        if index is None:
            raise TestbedError(f"{archive}: no index.json found; remove the file and build again")
        digest: str = json.load(index)["manifests"][0]["digest"]
    return digest

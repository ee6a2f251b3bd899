"""scripts/env.sh: environments are named by what they are made of, made once, and never taken away.

uv is one that writes down what it is asked and makes empty environments: what is tested is what the script
does with it.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from indexcache_testbed.cluster.layout import CHECKOUT

UV = r"""#!/bin/bash
set -eu
echo "$*" >>"$(dirname "$0")/calls"
if [ "$1" = venv ]; then mkdir -p "${@: -1}/bin" "${@: -1}/lib/python3.11/site-packages"; fi
"""
PACKAGES = ("core", "kernels", "operator", "runtime", "testbed", "testbed/dsa_cpu", "testbed/vllm_name")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return a cache with that uv."""
    key = hashlib.sha256((CHECKOUT / "requirements/uv.txt").read_bytes() + b"1\n").hexdigest()[:12]
    place = tmp_path / "cache/env" / f"uv-{key}"
    (place / "bin").mkdir(parents=True)
    (place / "bin/uv").write_text(UV)
    (place / "bin/uv").chmod(0o755)
    (place / ".whole").touch()
    return tmp_path / "cache"


def checkout(folder: Path) -> Path:
    """Return a copy of what the script reads of a checkout."""
    for name in ("scripts", "requirements", "testbed/indexcache_testbed"):
        shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in PACKAGES:
        (folder / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name / "pyproject.toml", folder / name)
    return folder


def ran(folder: Path, cache: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(folder / "scripts/env.sh"), str(cache), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def script(folder: Path, cache: Path, *words: str) -> str:
    done = ran(folder, cache, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def calls(cache: Path) -> list[str]:
    (uv,) = cache.glob("env/uv-*")
    return (uv / "bin/calls").read_text().splitlines() if (uv / "bin/calls").exists() else []


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return checkout(tmp_path / "one")


def test_checkouts_of_one_lock_share_the_dependencies_alone(tmp_path: Path, cache: Path, one: Path) -> None:
    other = checkout(tmp_path / "other")
    for folder in (one, other):
        script(folder, cache)
    places = [Path(script(folder, cache, "where")) for folder in (one, other)]
    assert len(set(places)) == 2
    assert [(place / "checkout").resolve() for place in places] == [one, other]
    assert len({(place / "dependencies").resolve() for place in places}) == 1
    assert sum("requirements/all.txt" in call for call in calls(cache)) == 1


def test_nothing_is_made_again(cache: Path, one: Path) -> None:
    script(one, cache)
    made = calls(cache)
    assert script(one, cache) == ""
    assert calls(cache) == made


@pytest.mark.parametrize("file", ["requirements/all.txt", "testbed/pyproject.toml"])
def test_what_was_made_of_an_older_lock_stays(cache: Path, one: Path, file: str) -> None:
    script(one, cache)
    before = Path(script(one, cache, "where"))
    kept = [before, (before / "dependencies").resolve()]
    with (one / file).open("a") as text:
        text.write("# changed\n")
    script(one, cache)
    after = Path(script(one, cache, "where"))
    assert after != before
    assert all((place / ".whole").exists() for place in (*kept, after))
    assert ((after / "dependencies").resolve() == kept[1]) == (file != "requirements/all.txt")


def test_two_makes_at_once_make_it_once(cache: Path, one: Path) -> None:
    command = [str(one / "scripts/env.sh"), str(cache)]
    makes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [make.wait(60) for make in makes] == [0] * 4
    assert len([call for call in calls(cache) if call.startswith("venv")]) == 2


def test_what_was_left_half_made_is_made_anew(cache: Path, one: Path) -> None:
    script(one, cache)
    place = Path(script(one, cache, "where"))
    (place / ".whole").unlink()
    (place / "half").touch()
    script(one, cache)
    assert (place / ".whole").exists()
    assert not (place / "half").exists()


def test_a_failure_leaves_nothing_that_passes_for_whole(cache: Path, one: Path) -> None:
    (uv,) = cache.glob("env/uv-*")
    (uv / "bin/uv").write_text("#!/bin/sh\necho no network >&2; exit 2\n")
    done = ran(one, cache)
    assert (done.returncode, done.stderr) == (2, "no network\n")
    assert not list(cache.glob("env/dev-*/.whole"))


def test_too_little_disk_is_told_before_anything_is_fetched(cache: Path, one: Path) -> None:
    prerequisites = one / "testbed/indexcache_testbed/cluster/prerequisites.py"
    text = prerequisites.read_text().replace("ENVIRONMENT_GIB = 20, 3, 12", "ENVIRONMENT_GIB = 20, 3, 10**9")
    prerequisites.write_text(text)
    done = ran(one, cache)
    assert done.returncode == 1
    assert "missing: " in done.stderr
    assert "1000000000 GiB needed" in done.stderr
    assert calls(cache) == []


def test_the_environment_of_this_run_is_that_of_this_checkout_or_none_of_a_checkouts() -> None:
    """Tests that ran on another checkout's packages would say nothing of this one's."""
    import indexcache_core
    import indexcache_testbed

    for module in (indexcache_core, indexcache_testbed):
        assert Path(os.path.realpath(module.__file__ or "")).is_relative_to(CHECKOUT)

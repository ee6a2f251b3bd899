"""scripts/env.sh and what runs: an environment that pods mount is not taken away under them."""

import hashlib
import subprocess
from pathlib import Path

import pytest
from indexcache_testbed.cluster.layout import CHECKOUT


def make_engine(cache: Path, launcher: str) -> subprocess.CompletedProcess[str]:
    """What the script says of an engine's environment that is missing, while a cluster has this launcher; its own tools are there."""
    (cache / "env").mkdir()
    tools = hashlib.sha256((CHECKOUT / "requirements/uv.txt").read_bytes()).hexdigest()[:16]
    (cache / "env/tools.stamp").write_text(f"{tools}\n")
    state = cache / "clusters/mine/state"
    state.mkdir(parents=True)
    (state / "launcher").write_text(launcher)
    command = [str(CHECKOUT / "scripts/env.sh"), str(cache), "engine"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_engines_environment_is_not_replaced_under_running_pods(tmp_path: Path) -> None:
    done = make_engine(tmp_path, Path("/proc/self/stat").read_text())
    assert done.returncode == 1
    assert done.stderr == (
        "env: engine: to be made anew, but pods of the testbed mine mount it; end it first: make down, or testbed down --name mine\n"
    )


@pytest.mark.parametrize("field", [0, 21])
def test_a_cluster_that_has_ended_holds_nothing(tmp_path: Path, field: int) -> None:
    """Its launcher's id is nobody's, or another process's that began at another time."""
    stat = Path("/proc/self/stat").read_text().split()
    stat[field] = "99999999"
    done = make_engine(tmp_path, " ".join(stat))
    assert "engine: vLLM for CPUs" in done.stdout
    assert "make down" not in done.stderr

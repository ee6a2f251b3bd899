"""The command line tells what a user can act on in a line of its own, with exit status 1 and no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from indexcache_testbed.cli import app
from typer.testing import CliRunner


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INDEXCACHE_CACHE", str(tmp_path))
    monkeypatch.delenv("TESTBED_NAME", raising=False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "true"], "the cluster indexcache does not run; start it with `testbed up`"),
        (["run", "--name", "other", "--", "pytest", "--name", "x"], "the cluster other does not run"),
        (["logs", "kubelet"], "kubelet: no such log"),
        (["status", "--name", "No Name"], "--name: 'No Name' found"),
        (
            ["image", "localhost/a:1", ".", "--build-arg", "BASE"],
            "--build-arg: 'BASE' found, NAME=VALUE expected",
        ),
        (["product"], "the cluster indexcache does not run; start it with `testbed up`"),
        (["receiver", "--token", "secret"], "the cluster indexcache does not run"),
    ],
)
def test_what_a_user_can_act_on_is_a_line(words: list[str], message: str) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_down_of_what_does_not_run_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("indexcache_testbed.cluster.cgroups.remove", lambda name: None)
    assert CliRunner().invoke(app, ["down", "--name", "nothing", "--all"]).exit_code == 0


def test_status_of_what_does_not_run_fails() -> None:
    result = CliRunner().invoke(app, ["status"])
    assert (result.exit_code, "indexcache does not run" in result.output) == (1, True)

"""`make test` goes on after a failure, and says in the end what failed."""

from pathlib import Path

import pytest
from indexcache_testbed import stages
from indexcache_testbed.stages import STAGES, Result, Stage, counted, play, table

TESTS, PLAIN = Stage("unit", tests=True), Stage("build")


def report(tests: int, failures: int = 0, errors: int = 0, skipped: int = 0) -> str:
    counts = f'tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}"'
    return f'<testsuites><testsuite name="pytest" {counts} time="1.0"/></testsuites>'


@pytest.mark.parametrize(
    ("given", "status", "expected"),
    [
        (report(10), 0, (10, 0)),
        (report(10, failures=2, errors=1, skipped=3), 1, (4, 3)),
        (report(0), 5, (0, 1)),  # pytest found no tests
        (report(7), 2, (7, 1)),  # it was interrupted
        (None, 1, (0, 1)),
        (None, 0, (0, 1)),  # a stage of tests without a report has shown nothing
    ],
)
def test_tests_are_counted_by_pytest(given: str | None, status: int, expected: tuple[int, int]) -> None:
    result = counted(TESTS, status, 1.0, given, "last words")
    assert (result.passed, result.failed) == expected


@pytest.mark.parametrize(("status", "expected"), [(0, (1, 0)), (2, (0, 1))])
def test_another_stage_passes_by_its_status(status: int, expected: tuple[int, int]) -> None:
    result = counted(PLAIN, status, 1.0, None, "go: not found\nmake: *** Error 2")
    assert (result.passed, result.failed) == expected
    assert ("go: not found" in result.message) == bool(status)


def test_all_stages_run_but_those_whose_prerequisites_failed() -> None:
    ran: list[str] = []

    def run(stage: Stage) -> Result:
        ran.append(stage.target)
        failed = int(stage.target in ("unit", "up"))
        return Result(stage.target, 1 - failed, failed, 1.0, "no bridge" if stage.target == "up" else "")

    results = play(STAGES, run)
    assert ran == ["env", "lint", "unit", "engine", "build", "up"]
    assert [r.target for r in results] == [s.target for s in STAGES]
    failed = {r.target: r.message for r in results if r.failed}
    assert failed == {
        "unit": "",
        "up": "no bridge",
        "cluster": "not run, as up failed",
        "product": "not run, as up failed",
        "e2e": "not run, as product failed",
    }
    shown = table(results)
    assert shown.splitlines()[0].split() == ["stage", "passed", "failed", "seconds"]
    rows = [line.split()[:3] for line in shown.splitlines()[1:10]]
    assert rows == [[r.target, str(r.passed), str(r.failed)] for r in results]
    assert "up: no bridge" in shown


MAKEFILE = """
good: ; @echo fine
bad: ; @echo the reason >&2; exit 3
unit: ; @for last in $$PYTEST_ADDOPTS; do :; done; echo '{xml}' >"$${{last#--junitxml=}}"; echo '2 failed, 3 passed'; exit 1
"""
"""Of several reports that are asked for, the last is written, as pytest does."""


@pytest.mark.parametrize("given", ["", "-x --junitxml=another.xml"])
def test_a_stage_is_a_target_and_what_it_writes_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], given: str
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", given)  # set where these tests are a stage themselves
    (tmp_path / "Makefile").write_text(MAKEFILE.format(xml=report(5, failures=2)))
    monkeypatch.chdir(tmp_path)
    good, bad, unit = stages.run(Stage("good")), stages.run(Stage("bad")), stages.run(TESTS)
    assert (good.passed, good.failed) == (1, 0)
    assert (bad.failed, "the reason" in bad.message) == (1, True)
    assert (unit.passed, unit.failed) == (3, 2)
    shown = capfd.readouterr().out
    assert all(line in shown for line in ("fine", "the reason", "2 failed, 3 passed"))


def test_every_stage_is_a_target_of_the_makefile() -> None:
    targets = (Path(__file__).parents[3] / "Makefile").read_text()
    assert all(f"\n{stage.target}:" in targets for stage in STAGES)


def test_one_failure_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "run", lambda stage: Result(stage.target, 1, int(stage.target == "e2e"), 0.0))
    assert stages.main() == 1
    monkeypatch.setattr(stages, "run", lambda stage: Result(stage.target, 1, 0, 0.0))
    assert stages.main() == 0

"""Tests that `make chaos` plays what it says, and that it can fail. A short form of each of its parts."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from indexcache_operator import model
from indexcache_operator.act import perform
from indexcache_operator.api.status import Phase
from indexcache_operator.informers import informer
from indexcache_operator.observe import look
from indexcache_operator.plan import plan as planned

from benchmarks import chaos, chaos_runs, render
from benchmarks.chaos_runs import GOOD, HARMFUL, KILLED, MIXED, RETAINED, Case, Outcome
from benchmarks.report import Report
from tests.unit.operator.faults import faulty
from tests.unit.operator.faults.dying import DyingEngines
from tests.unit.operator.faults.simulated import SimulatedEngines


@pytest.fixture(autouse=True)
def simulated(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what puts the stand-ins for engines of a part into this process."""

    def engines(part: str) -> None:
        kind = DyingEngines if part == "deaths" else SimulatedEngines
        for module in (look, perform):
            monkeypatch.setattr(module, "Engines", kind)

    monkeypatch.setattr(informer, "RETRY_SECONDS", (0.0,))
    engines("")
    return engines


@pytest.mark.parametrize(
    ("case", "counted"),
    [
        (Case("api_faults", HARMFUL, "500", 1), "calls"),
        (Case("api_faults", GOOD, MIXED, 4), "writes"),
        (Case("watches", KILLED, "watch silent", 1), "calls"),
        (Case("deaths", RETAINED, at=(1, 3)), "deaths"),
        (Case("two_operators", HARMFUL, seed=1), "refused"),
        (Case("leaders", GOOD, seed=1), "leader_changes"),
    ],
    ids=str,
)
def test_each_part_is_played_to_its_end(case: Case, counted: str, simulated: Callable[[str], None]) -> None:
    simulated(case.part)
    outcome = chaos_runs.run(case)
    assert (outcome.violation, outcome.wrong_end) == ("", "")
    assert outcome.counts[counted] > 0
    assert bool(outcome.faults) == (case.part in chaos_runs.KINDS)


def without(kind: type[model.Action]) -> Callable[..., Any]:
    """Return a planner that forgets one kind of action."""

    def plan(*args: Any) -> Any:
        made = planned(*args)
        return replace(made, actions=tuple(a for a in made.actions if not isinstance(a, kind)))

    return plan


def leaving(observation: model.Observation, memory: Any) -> Any:
    """Plan that in a canary every pod leaves every Service."""
    made = planned(observation, memory)
    left = tuple(model.SetLabels(pod=p.name, baseline=False, canary=False) for p in observation.pods)
    return replace(made, actions=made.actions + left * (made.status.phase is Phase.CANARY))


def test_what_may_never_happen_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faulty, "plan", leaving)
    assert "failed_requests" in chaos_runs.run(Case("api_faults", HARMFUL, "409", 0)).violation


def test_a_rollout_that_does_not_end_is_a_wrong_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faulty, "plan", without(model.EnsureWorkload))
    monkeypatch.setattr(faulty, "LOOKS", 20)
    assert "Checking" in chaos_runs.run(Case("api_faults", GOOD, "409", 0)).wrong_end


def test_a_kill_that_is_not_obeyed_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("api_faults", KILLED, "409", 0)
    monkeypatch.setattr(chaos_runs, "OBEYED_LOOKS", 0)
    assert "a kill was not obeyed" in chaos_runs.run(case).violation


def test_what_went_wrong_is_counted_and_told_with_its_case(capsys: pytest.CaptureFixture[str]) -> None:
    bad = Outcome(Case("watches", GOOD, seed=77), violation="I2")
    good = Outcome(Case("watches", GOOD))
    good.faults["500"] = bad.faults["500"] = 2
    counts, faults = chaos.summed("watches", [bad, good])
    assert (chaos.wrong(counts), counts["violations"], faults["500"]) == (1, 1, 4)
    assert "seed=77" in capsys.readouterr().err


def test_the_cases_of_a_part_are_each_another_and_have_all_kinds() -> None:
    for part, kinds in chaos_runs.KINDS.items():
        cases = list(chaos_runs.cases(part, 4))
        assert len(set(cases)) == len(cases)
        assert {case.kind for case in cases} == set(kinds)


def test_the_table_sums_up_what_was_played(tmp_path: Path) -> None:
    report = Report(tmp_path / "chaos.json", "c", of_commit="abc")
    report.begin("h", {})
    report.row("api_faults", 0, "of 3", {"runs": 3, "calls": 1200, "violations": 0, "faults": {"409": 7}})
    table = render.chaos(json.loads(report.path.read_text()))
    assert "| calls to the API server fail | 3 | 7 faults, of 1 kind, in 1,200 calls | 0 |" in table

"""Tests that scenarios played again and again are judged by their ends, and that operators die in them."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from indexcache_testbed.scenario import scenarios
from indexcache_testbed.scenario.outcome import Outcome
from indexcache_testbed.scenario.stage import Stage

from benchmarks import render
from benchmarks.live import Anew, Deaths, wrong

STAGE: Any = None


def outcome(ended: str, **more: Any) -> Outcome:
    return Outcome("x", "a scenario", "FS", ended=ended, **more)


@pytest.mark.parametrize(
    ("scenario", "found", "problems"),
    [
        (scenarios.good, outcome("Promoted: Certified", failed=0), 0),
        (scenarios.good, outcome("FellBack: RecallBelowThreshold"), 1),
        (scenarios.drift, outcome("FellBack: EngineBreaker", admitted_after=0), 0),
        (scenarios.drift, outcome("FellBack: EngineBreaker", admitted_after=2, failed=3), 2),
        (scenarios.harmful, outcome("Promoted: Certified"), 1),
        (scenarios.alert, outcome("FellBack: AlertFiring"), 0),
    ],
)
def test_an_end_is_right_or_what_is_wrong_is_told(scenario: Any, found: Outcome, problems: int) -> None:
    assert len(wrong(scenario, found)) == problems


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the words of each kubectl."""
    said: list[str] = []

    async def kubectl(*words: str) -> None:
        said.append(" ".join(words))

    monkeypatch.setattr("benchmarks.live.kubectl.kubectl", kubectl)
    return said


def stage() -> Any:
    return type("Stage", (), {"say": staticmethod(lambda line: None)})()


async def test_the_operator_dies_once_in_the_scenario(killed: list[str]) -> None:
    async def lasts(stage: Any) -> Outcome:
        await asyncio.sleep(0.5)
        return outcome("Promoted: Certified")

    dying = Deaths(random.Random(1), {lasts: 0.2})
    found = await dying.play(stage(), lasts)
    assert found is not None
    assert len(killed) == len(dying.moments) == 1
    assert "delete pod" in killed[0]
    assert "--grace-period=0 --force" in killed[0]


async def test_a_scenario_that_ends_before_it_is_played_once_more_within_its_length(
    killed: list[str],
) -> None:
    async def short(stage: Any) -> Outcome:
        await asyncio.sleep(0.05)
        return outcome("Promoted: Certified")

    dying = Deaths(random.Random(1))
    assert await dying.play(stage(), short) is None
    assert (killed, dying.moments) == ([], [])
    assert 0.05 <= dying.lengths[short] < 10.0


async def test_of_one_that_never_ends_the_moment_is_kept(killed: list[str]) -> None:
    async def stuck(stage: Any) -> Outcome:
        await asyncio.sleep(0.2)
        raise TimeoutError("Promoted: not reached in 240 s")

    dying = Deaths(random.Random(1), {stuck: 0.1})
    with pytest.raises(TimeoutError):
        await dying.play(stage(), stuck)
    assert len(dying.moments) == len(killed) == 1


async def test_no_rollout_is_tried_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens: list[int] = []

    async def applied(own: Stage, example: str, change: Any) -> dict[str, Any]:
        rollout: dict[str, Any] = {"spec": {"indexCache": {}, "strategy": {}}}
        change(rollout)
        tokens.append(rollout["spec"]["indexCache"]["minContextTokens"])
        return rollout

    monkeypatch.setattr(Stage, "apply", applied)
    anew = Anew(None, None, Path(), print)  # type: ignore[arg-type]
    await anew.apply("demo-drift")
    held = await anew.apply("demo-good", lambda rollout: rollout["spec"]["strategy"].update(steps=[]))
    assert held["spec"]["strategy"] == {"steps": []}
    assert len(set(tokens)) == 2


def test_its_table_has_every_row() -> None:
    row = {"value": 0.5, "unit": "s, the longest of 2", "samples": [0.4, 0.5]}
    rows = [row | {"name": name} for name in render.LIVE]
    said = render.live({"rows": rows, "hardware": "2 cores", "commit": "0123456789"})
    assert said.count("\n| ") == len(render.LIVE)
    assert "0.5 (the longest of 2; median 0.45)" in said
    assert render.live({"rows": []}).count("not measured yet") == len(render.LIVE)

"""Tests what steps that hold probes are planned as and counted as."""

from typing import Any

import pytest
from indexcache_core.contract import Indexer, Mode
from indexcache_core.probe_ids import Side, probe_request_id, sided
from indexcache_runtime.engine import StepPlan
from indexcache_runtime.vllm.carried import PLAN

from tests.unit.runtime.vllm.engine_core.step_world import Core, K

FULL, REUSE = (probe_request_id("token", "n", side) for side in (Side.FULL, Side.REUSE))
SIDE = sided("n", Side.REUSE)


def runs(core: Core) -> dict[str, tuple[int, int]]:
    return {run.name: (run.rows, run.reused) for run in core.seen.probe_runs}


def test_a_step_of_probes_alone_in_shadow_runs_under_reuse_and_is_counted_apart() -> None:
    core = Core(Mode.SHADOW, sample_rows=9)
    for step in range(1, 4):
        output = core.step({REUSE: 10}, new={REUSE: {}} if step == 1 else {})
        assert getattr(output, PLAN) == StepPlan(Mode.ON, "FSFS", 1, apart=True)
        assert (core.seen.steps.reuse_apart, core.seen.steps.full) == (step, 0)
    assert core.probes is not None


@pytest.mark.parametrize(
    ("mode", "beside", "flags", "reused"),
    [
        (Mode.SHADOW, None, {}, 10),
        (Mode.SHADOW, "user", {}, 0),
        (Mode.SHADOW, None, {"pattern": "FFFF"}, 0),
        (Mode.ON, None, {}, 10),
        (Mode.ON, "user", {}, 10),
        (Mode.ON, FULL, {}, 0),
        (Mode.ON, None, {"pattern": "FFFF"}, 0),
        (Mode.OFF, None, {}, 0),
    ],
)
def test_rows_of_a_probe_are_told_by_how_its_step_ran(
    mode: Mode, beside: str | None, flags: dict[str, Any], reused: int
) -> None:
    core = Core(mode, **flags)
    names = [REUSE, beside] if beside else [REUSE]
    core.step(dict.fromkeys(names, 10), new={name: {} for name in names})
    assert runs(core)[SIDE] == (10, reused)


@pytest.mark.parametrize("indexer", Indexer)
def test_a_step_of_probes_apart_is_told_of_the_indexer(indexer: Indexer) -> None:
    core = Core(Mode.SHADOW, indexer=indexer)
    output = core.step(new={REUSE: {}})
    assert getattr(output, PLAN) == StepPlan(Mode.ON, "FSFS", 1, apart=True, indexer=indexer)


def test_in_shadow_only_who_is_known_as_a_probe_since_it_came_runs_apart() -> None:
    """One that came with another token, or whose end was told already, isn't in the ledger."""
    core = Core(Mode.SHADOW)
    core.step(new={REUSE: {}})
    assert hasattr(core.step({REUSE: 10}), PLAN)
    assert not hasattr(core.step({REUSE: 10}, finished=[REUSE]), PLAN)


def test_rows_of_a_probe_count_from_k_on_and_not_under_the_floor() -> None:
    core = Core(Mode.ON)
    core.step({REUSE: K + 5}, new={REUSE: {"num_computed_tokens": K + 5}})
    assert runs(core) == {SIDE: (5, 5)}
    core = Core(Mode.ON, min_context_tokens=2000)
    core.step(new={REUSE: {}, "user": {"num_computed_tokens": 3000}})
    assert runs(core) == {SIDE: (0, 0)}


def test_the_class_of_probes_apart_is_entered_in_shadow_alone() -> None:
    core = Core(Mode.SHADOW)
    core.step(new={"r": {}})
    assert core.probes is not None
    core.put(Mode.ON)
    core.step({"r": 1})
    assert core.probes is None


def test_a_probe_is_beyond_no_reach_and_a_users_request_is() -> None:
    core = Core(Mode.ON, reach_tokens=100)
    assert not core.steps.reach.beyond(core_request(core, REUSE))
    assert core.steps.reach.beyond(core_request(core, "user"))


def core_request(core: Core, name: str) -> Any:
    """Return a request of a thousand tokens that was in a step."""
    core.step(new={name: {}})
    return core.requests[name]

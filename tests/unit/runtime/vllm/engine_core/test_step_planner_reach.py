"""Tests what becomes of the steps that hold a request that reuse doesn't reach."""

from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_core.contexts import context_bucket
from indexcache_core.contract import InFlight, Mode
from indexcache_core.probe_ids import Side, probe_request_id
from indexcache_runtime.engine import StepPlan
from indexcache_runtime.measuring.budget import FIRST_AFTER
from indexcache_runtime.vllm.carried import PLAN
from indexcache_runtime.vllm.engine_core.step_planner import WANTED

from tests.unit.runtime.vllm.engine_core.step_world import Core, K

OUT = SimpleNamespace(extra_args={"indexcache": "off"})


def of(prompt: int, computed: int | None = None, **fields: Any) -> dict[str, Any]:
    """Return a request with so long a prompt, and so many tokens computed with the step: all of it."""
    return {
        "num_prompt_tokens": prompt,
        "num_computed_tokens": prompt if computed is None else computed,
    } | fields


def plan(output: Any) -> Any:
    return getattr(output, PLAN, None)


def grow(core: Core, *names: str, tokens: int = 1) -> Any:
    """Run a step of so many tokens of each of these."""
    for name in names:
        core.requests[name].num_computed_tokens += tokens
    return core.step(dict.fromkeys(names, tokens))


@pytest.mark.parametrize(("prompt", "is_out"), [(99, False), (100, False), (101, True)])
def test_a_request_is_out_by_its_prompt(prompt: int, is_out: bool) -> None:
    core = Core(reach_tokens=100)
    output = core.step(new={"r": of(prompt)})
    assert (plan(output) is None) is is_out
    r = core.seen.requests
    assert (r.beyond_reach, r.left_reach, r.admitted_baseline, r.touched_by_reuse) == (
        is_out,
        0,
        is_out,
        not is_out,
    )
    assert core.seen.steps.reuse_all_full == is_out
    assert ("r" in core.steps._reused) is not is_out


def test_its_first_part_is_out_though_its_context_is_short() -> None:
    core = Core(reach_tokens=100)
    assert plan(core.step(new={"r": of(101, computed=50)})) is None


def test_others_beside_it_run_all_full_and_then_reuse_again() -> None:
    core = Core(reach_tokens=100)
    core.step(new={"long": of(101), "short": of(50)})
    grow(core, "short", "long")
    grow(core, "short")
    steps = core.seen.steps
    assert (steps.reuse, steps.reuse_all_full) == (1, 2)
    core.step({"short": 1}, finished=["long"])
    assert core.seen.requests.running_baseline == 0


def test_one_that_grows_beyond_the_reach_is_out_from_there_on() -> None:
    core = Core(reach_tokens=100)
    core.step(new={"r": of(99)})
    assert plan(grow(core, "r")).mode is Mode.ON  # a context of 100
    assert core.renamed == []
    assert plan(grow(core, "r")) is None
    assert plan(grow(core, "r")) is None
    r = core.seen.requests
    assert (r.beyond_reach, r.left_reach, r.admitted_reuse, r.running_reuse) == (0, 1, 1, 1)
    assert core.renamed == ["r"]
    assert core.seen.cache.resalted_requests == 4 * 2 + 1  # each step's flip says two here


def test_a_shorter_reach_puts_out_who_is_longer_and_a_longer_one_takes_nobody_back() -> None:
    core = Core()
    core.step(new={"a": of(50), "b": of(80)})
    core.put(Mode.ON, reach_tokens=60)
    assert plan(grow(core, "a")).mode is Mode.ON  # b isn't in it, and out all the same
    assert core.renamed == ["b"]
    assert core.seen.requests.left_reach == 1
    assert core.seen.cache.resalted_requests == 2 * 2 + 1
    core.put(Mode.ON)
    assert plan(grow(core, "a", "b")) is None
    assert plan(core.step({"c": 1}, new={"c": of(500)})).mode is Mode.ON
    assert core.seen.requests.beyond_reach == 0


def test_another_reach_begins_no_series() -> None:
    core = Core(reach_tokens=100)
    core.step(new={"r": of(50)})
    before = core.seen
    core.put(Mode.ON, reach_tokens=60)
    assert core.seen.series_number == before.series_number
    assert core.seen.requests.recent == before.requests.recent
    assert core.control.behaviour().taint == core.tainted[-1]


def test_who_was_in_flight_before_reuse_is_out_by_its_length_and_counted_nowhere() -> None:
    core = Core(Mode.SHADOW, reach_tokens=100)
    assert core.control.behaviour().reach_tokens is None
    core.step(new={"long": of(101), "short": of(50)})
    core.put(Mode.ON, reach_tokens=100)
    assert plan(grow(core, "long", "short")) is None
    r = core.seen.requests
    assert (r.beyond_reach, r.left_reach, r.admitted_baseline, r.touched_by_reuse) == (0, 0, 2, 1)


def test_who_opted_out_is_counted_as_such() -> None:
    core = Core(reach_tokens=100, sample_rows=64)
    output = core.step(new={"r": of(101, sampling_params=OUT)})
    assert plan(output) is None
    assert not hasattr(output, WANTED)
    r = core.seen.requests
    assert (r.opted_out, r.beyond_reach) == (1, 0)


@pytest.mark.parametrize(("token", "is_out"), [("token", False), ("forged", True)])
def test_a_probe_is_computed_as_it_says_if_it_is_one(token: str, is_out: bool) -> None:
    core, name = Core(reach_tokens=100), probe_request_id(token, "n", Side.REUSE)
    assert (plan(core.step(new={name: of(101)})) is None) is is_out
    assert core.seen.requests.beyond_reach == is_out


def test_one_that_is_resumed_after_a_preemption_leaves_where_it_grows() -> None:
    """vLLM's second model runner tells of it as of a new one."""
    core = Core(reach_tokens=100)
    core.step(new={"r": of(100)})
    core.step({"r": 102}, new={"r": of(100, computed=102)})
    r = core.seen.requests
    assert (r.beyond_reach, r.left_reach, r.admitted_reuse) == (0, 1, 1)


def test_where_reuse_ends_who_left_its_reach_is_prefilled_again_and_who_was_never_in_it_is_not() -> None:
    core = Core(reach_tokens=100, in_flight=InFlight.RECOMPUTE)
    core.step(new={"left": of(100), "never": of(101)})
    grow(core, "left", "never")
    core.put(Mode.OFF)
    core.step({"never": 1})
    assert core.preempted == ["left"]


def rows(output: Any) -> set[str]:
    found: StepPlan | None = plan(output)
    return {row.request for row in found.rows} if found is not None else set()


def test_only_who_is_out_by_its_length_is_measured_as_in_shadow() -> None:
    core, probe = Core(reach_tokens=100, sample_rows=900), probe_request_id("token", "n", Side.FULL)
    output = core.step(
        dict.fromkeys(("long", "left", "short", "out", probe), 20),
        new={
            "long": of(200),
            "left": of(90, computed=110),
            "short": of(80),
            "out": of(200, sampling_params=OUT),
            probe: of(200),
        },
    )
    found = plan(output)
    assert (found.mode, found.pattern, found.series) == (Mode.SHADOW, "FSFS", 1)
    assert rows(output) == {"long", "left"}
    assert len(found.rows) == 40
    assert found.draw
    assert getattr(output, WANTED)
    core.steps.update(output, SimpleNamespace())
    beside = grow(core, "short", tokens=20)
    assert (plan(beside).mode, rows(beside)) == (Mode.ON, {"short"})
    assert plan(grow(core, "short", "out", tokens=20)) is None


def test_under_the_floor_or_without_shared_sites_nothing_is_measured() -> None:
    for flags in ({"min_context_tokens": 5000}, {"pattern": "FFFF"}):
        core = Core(reach_tokens=100, sample_rows=9, **flags)
        output = core.step(new={"long": of(200)})
        assert (plan(output), hasattr(output, WANTED)) == (None, False)


def test_such_a_step_is_never_replayed_and_one_under_reuse_is() -> None:
    core = Core(reach_tokens=100, replayed=8, sample_rows=4)
    output = core.step({"long": 1, "short": 1}, new={"long": of(200), "short": of(50)})
    assert plan(output).rows
    assert not plan(output).replayed
    assert plan(grow(core, "short")).replayed


def test_each_kind_of_step_has_to_be_known_before_it_is_measured() -> None:
    core = Core(reach_tokens=100, replayed=8, sample_rows=4)
    core.steps._budget.graphed_tokens = 8
    core.step({"long": 1, "short": 1}, new={"long": of(200), "short": of(50)})
    for _ in range(FIRST_AFTER):
        core.steps.update(grow(core, "short"), SimpleNamespace())
    assert not rows(grow(core, "long", "short"))
    assert rows(grow(core, "short")) == {"short"}
    core.steps._budget = core.control.budget()
    core.steps._budget.graphed_tokens = 8
    for _ in range(FIRST_AFTER):
        core.steps.update(grow(core, "long", "short"), SimpleNamespace())
    assert not rows(grow(core, "short"))
    assert rows(grow(core, "long", "short")) == {"long"}


def test_work_is_known_by_what_was_found_in_the_cache_and_what_was_computed_in_the_end() -> None:
    core = Core(Mode.SHADOW)
    core.step({"r": 60}, new={"r": of(K + 64, computed=70)})  # ten of them were found
    core.requests["r"].num_computed_tokens = 100
    core.step({"r": 30})
    core.requests.pop("r")  # as vLLM forgets it when it ends
    core.step({"other": 1}, new={"other": of(500)}, finished=["r"])
    work = core.seen.requests.recent_work
    assert work[context_bucket(K + 64, K)] == sum(work) == 100 * 101 / 2 - 10 * 11 / 2
    core.step({}, finished=["never scheduled"])
    assert core.seen.requests.recent_work == work

"""Tests what a step is told to do and what is counted of it, by stand-ins for vLLM's scheduler."""

from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_core.contract import Indexer, Mode
from indexcache_runtime.engine import StepPlan
from indexcache_runtime.vllm.carried import PLAN

from tests.unit.runtime.vllm.engine_core.step_world import ONE, Core


@pytest.mark.parametrize(
    ("mode", "flags", "expected"),
    [
        (Mode.OFF, {}, (1, 0, 0)),
        (Mode.SHADOW, {}, (1, 0, 0)),
        (Mode.ON, {}, (0, 1, 0)),
        (Mode.ON, {"pattern": "FFFF"}, (0, 0, 1)),
        (Mode.ON, {"min_context_tokens": 1000}, (0, 1, 0)),
        (Mode.ON, {"min_context_tokens": 1001}, (0, 0, 1)),
    ],
)
def test_steps_are_counted_by_what_they_do(
    mode: Any, flags: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    core = Core(mode, **flags)
    output = core.step(new=ONE)
    steps = core.seen.steps
    assert (steps.full, steps.reuse, steps.reuse_all_full) == expected
    plan: StepPlan | None = getattr(output, PLAN, None)
    assert (plan is not None) is bool(expected[1])
    if plan is not None:
        assert plan == StepPlan(Mode.ON, "FSFS", 1)


def test_steps_under_reuse_alone_are_told_of_the_fast_indexer() -> None:
    def told(core: Core) -> Any:
        plan: StepPlan | None = getattr(core.step(new=ONE), PLAN, None)
        return plan and plan.indexer

    fast: dict[str, Any] = {"indexer": Indexer.FAST}
    assert told(Core(Mode.ON, **fast)) is Indexer.FAST
    assert told(Core(Mode.ON)) is Indexer.NATIVE
    assert told(Core(Mode.ON, pattern="FFFF", **fast)) is None
    shadow = told(Core(Mode.SHADOW, sample_rows=4, **fast))
    assert shadow in (None, Indexer.NATIVE)


def test_a_step_reuses_from_exactly_so_many_tokens_on_by_its_longest_request() -> None:
    core = Core(min_context_tokens=64)
    core.step(new={"short": {"num_computed_tokens": 1}, "long": {"num_computed_tokens": 63}})
    assert core.seen.steps.reuse_all_full == 1
    core.requests["long"].num_computed_tokens = 64
    core.step({"short": 1, "long": 1})
    assert (core.seen.steps.reuse, core.seen.steps.reuse_all_full) == (1, 1)
    core.step({"short": 1})
    assert (core.seen.steps.reuse, core.seen.steps.reuse_all_full) == (1, 2)


def test_a_step_without_tokens_is_none() -> None:
    core = Core()
    output = core.step({}, finished=())
    steps = core.seen.steps
    assert (steps.full, steps.reuse, steps.reuse_all_full) == (0, 0, 0)
    assert not hasattr(output, PLAN)
    assert core.seen.step_seconds == 0.0


def test_an_empty_step_ends_no_other() -> None:
    core = Core()
    core.step(new=ONE)
    assert core.seen.step_seconds > 0.0
    empty = core.step({})
    assert core.steps.update(empty, SimpleNamespace()) == "updated"
    assert core.seen.step_seconds > 0.0


def test_what_the_scheduler_is_asked_with_is_passed_on_and_its_answer_too() -> None:
    core = Core()
    core.output = SimpleNamespace(
        total_num_scheduled_tokens=0, num_scheduled_tokens={}, scheduled_new_reqs=[], finished_req_ids=set()
    )
    assert core.steps.schedule(1, key=2) is core.output
    assert core.asked == [((1,), {"key": 2})]
    assert core.steps.update(core.output, "result") == "updated"
    assert core.updated == [(core.output, "result")]


def test_it_is_installed_between_the_engine_core_and_its_scheduler() -> None:
    core = Core()
    engine = SimpleNamespace(request_block_hasher=None)
    core.steps.install(engine)
    assert (core.schedule, core.update_from_output) == (core.steps.schedule, core.steps.update)
    manager = core.kv_cache_manager
    assert (manager.get_computed_blocks, manager.record_prefix_cache_stats) == (
        "lookup",
        core.steps.record_hits,
    )


def test_blocks_are_named_by_the_behaviour_before_the_step_is_scheduled() -> None:
    core = Core()
    core.step(new=ONE)
    taint = core.control.behaviour().taint
    assert taint is not None
    core.put(Mode.SHADOW)
    core.step({"r": 1})
    assert core.tainted == [taint, None]
    assert core.seen.cache.resalted_requests == 4


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.SHADOW, Mode.ON])
def test_every_step_is_counted(mode: Any) -> None:
    core = Core(mode)
    core.step(new=ONE)
    core.step({"r": 1})
    steps = core.seen.steps
    assert (steps.full, steps.reuse) == ((0, 2) if mode is Mode.ON else (2, 0))


def test_a_step_of_nobody_is_no_short_one() -> None:
    core = Core(min_context_tokens=5)
    assert not hasattr(core.step({}), PLAN)
    assert core.seen.steps.reuse_all_full == 0


@pytest.mark.parametrize(("tokens", "replayed"), [(8, True), (9, False)])
@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.ON])
def test_a_step_of_so_few_tokens_is_replayed(mode: Any, tokens: int, replayed: bool) -> None:
    core = Core(mode, replayed=8, sample_rows=4)
    plan: StepPlan = getattr(core.step({"r": tokens}, new=ONE), PLAN)
    assert plan.rows
    assert plan.replayed is replayed

"""Tests which steps are measured or timed, in how many rows, and what the budget is told."""

from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_core.contract import Desired, Flags, Mode, Site, Work
from indexcache_runtime.access import Credentials
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.engine import REPLAYED_ROWS, Capabilities, Measured, Row, StepPlan
from indexcache_runtime.measuring.budget import FIRST_AFTER
from indexcache_runtime.measuring.timed_prefills import PREFILL_TOKENS, TIMED_EVERY
from indexcache_runtime.vllm.carried import MEASURED, PLAN
from indexcache_runtime.vllm.engine_core.step_planner import CHOOSING, WANTED, StepPlanner

from tests.unit.runtime.vllm.engine_core.step_world import GRAPHED, ONE, REPLAYED, ROWS, Core, K, Scheduler


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler()


@pytest.fixture
def steps(scheduler: Scheduler) -> StepPlanner:
    sites = tuple(Site(index=i, layer=i, domain="tokens", k=K) for i in range(4))
    control = EngineControl(
        Capabilities("x", sites, graphed_tokens=GRAPHED, replayed_tokens=REPLAYED),
        engine_version="0.33.0",
        runtime_version="1",
    )
    flags = Flags(mode=Mode.ON, pattern="FSSS", sample_rows=ROWS)
    control.put(Desired(incarnation=control.incarnation, epoch=1, permit_seconds=600.0, flags=flags))
    blocks: Any = SimpleNamespace(enter=lambda taint, probes: 0)
    return StepPlanner(control, scheduler, blocks, Credentials("token"), seed=1)


def step(
    steps: StepPlanner, scheduler: Scheduler, requests: dict[str, int], measured: Measured | None = None
) -> tuple[StepPlan, float | None]:
    """Run one step to its end; return its plan, and how long its rows took to choose."""
    scheduler.next = requests
    output = steps.schedule()
    steps.update(output, SimpleNamespace(**{MEASURED: measured} if measured is not None else {}))
    plan: StepPlan = getattr(output, PLAN)
    return plan, getattr(output, CHOOSING, None)


def test_a_step_that_graphs_replay_is_measured_by_what_they_keep(
    steps: StepPlanner, scheduler: Scheduler
) -> None:
    decodes = {f"r{i}": 1 for i in range(200)}
    plans = [step(steps, scheduler, decodes) for _ in range(FIRST_AFTER + 1)]
    assert all(plan.replayed and not plan.rows and chosen is None for plan, chosen in plans[:-1])
    plan, chosen = plans[-1]
    assert plan.replayed
    assert len(plan.rows) == REPLAYED_ROWS < ROWS
    assert chosen is not None


def test_a_step_over_the_largest_whole_graph_is_measured_without_graphs(
    steps: StepPlanner, scheduler: Scheduler
) -> None:
    plans = [
        step(steps, scheduler, {f"r{i}": 1 for i in range(REPLAYED + 1)})[0] for _ in range(FIRST_AFTER + 1)
    ]
    assert not any(plan.replayed for plan in plans)
    assert len(plans[-1].rows) == REPLAYED + 1


def test_a_longer_step_is_measured_at_once_in_as_many_rows_as_are_wanted(
    steps: StepPlanner, scheduler: Scheduler
) -> None:
    plan, chosen = step(steps, scheduler, {"r": 4000})
    assert not plan.replayed
    assert len(plan.rows) == ROWS
    assert chosen is not None


def test_the_price_of_a_long_step_holds_what_the_engine_core_does_for_it(
    steps: StepPlanner, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(100, 200))
    monkeypatch.setattr(
        "indexcache_runtime.vllm.engine_core.step_planner.time.perf_counter", lambda: float(next(ticks))
    )
    prices: list[float] = []
    monkeypatch.setattr(steps._budget, "charge", lambda tokens, seconds, taken: prices.append(seconds))
    measured = Measured({1: [0.5] * ROWS}, {1: [0.5] * ROWS}, seconds=0.25)
    step(steps, scheduler, {"r": 4000}, measured)
    assert prices == [0.25 + 1 + 1]  # choosing rows, and counting what came back


def test_where_a_worker_tells_no_price_measuring_is_free(
    steps: StepPlanner, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices: list[float] = []
    monkeypatch.setattr(steps._budget, "charge", lambda tokens, seconds, taken: prices.append(seconds))
    step(steps, scheduler, {"r": 4000}, Measured({1: [0.5] * ROWS}, {1: [0.5] * ROWS}))
    assert prices == [0.0]


def test_rows_are_measured_by_their_position_in_shadow_and_under_reuse() -> None:
    for mode in (Mode.SHADOW, Mode.ON):
        core = Core(mode, sample_rows=100)
        output = core.step({"r": 5}, new={"r": {"num_computed_tokens": 45}})
        plan: StepPlan = getattr(output, PLAN)
        assert (plan.mode, plan.pattern, plan.series) == (mode, "FSFS", 1)
        assert sorted(plan.rows, key=lambda row: row.position) == [Row("r", 40 + i, i) for i in range(5)]
        assert getattr(output, WANTED)


def test_no_more_rows_are_measured_than_are_wanted() -> None:
    core = Core(Mode.SHADOW, sample_rows=3)
    assert len(getattr(core.step({"r": 50}, new=ONE), PLAN).rows) == 3
    none = Core(Mode.SHADOW).step({"r": 50}, new=ONE)
    assert not hasattr(none, PLAN)
    assert not hasattr(none, WANTED)


def test_rows_within_k_are_not_measured() -> None:
    core = Core(Mode.SHADOW, sample_rows=9)
    output = core.step({"r": K}, new={"r": {"num_computed_tokens": K}})
    assert not hasattr(output, PLAN)
    assert not hasattr(output, CHOOSING)
    assert getattr(output, WANTED)
    assert core.control.budget().allows(K, 1, reuses=False)


def test_steps_that_run_all_full_are_neither_measured_nor_wanted() -> None:
    core = Core(sample_rows=9, min_context_tokens=5000)
    output = core.step({"r": 50}, new=ONE)
    assert not hasattr(output, PLAN)
    assert not hasattr(output, WANTED)


def test_a_prefill_in_so_many_is_timed_instead_of_measured() -> None:
    core = Core(Mode.ON, timed=True, sample_rows=9)
    plans: list[StepPlan] = []
    for i in range(TIMED_EVERY):
        output = core.step({f"r{i}": PREFILL_TOKENS}, new={f"r{i}": {"num_computed_tokens": PREFILL_TOKENS}})
        plans.append(getattr(output, PLAN))
        core.steps.update(output, SimpleNamespace())
    (timed,) = [plan for plan in plans if plan.timed]
    assert (timed.rows, timed.mode, timed.pattern) == ((), Mode.ON, "FSFS")
    baseline = Core(Mode.OFF, timed=True)
    found = []
    for i in range(TIMED_EVERY):
        output = baseline.step({f"r{i}": PREFILL_TOKENS}, new={f"r{i}": {}})
        found += [getattr(output, PLAN)] if hasattr(output, PLAN) else []
    assert found == [StepPlan(Mode.OFF, timed=True)]


def test_what_a_step_measured_is_counted_with_it() -> None:
    core = Core(Mode.SHADOW, sample_rows=1)
    output = core.step({"r": 50}, new=ONE)
    core.steps.update(output, SimpleNamespace(**{MEASURED: Measured({1: [0.25]}, {1: [0.75]})}))
    mean, series = core.seen.observed  # the step completes the prompt
    assert (mean.site, series.site) == (None, 1)
    for s in (mean, series):
        assert (s.work, s.mode, s.overlap.sum, s.recall.sum) == (Work.PREFILL, Mode.SHADOW, 0.25, 0.75)
    without = core.step({"r": 50})
    core.steps.update(without, SimpleNamespace())
    assert [s.recall.count for s in core.seen.observed] == [1, 1]


def test_each_measured_step_draws_its_sites_anew(steps: StepPlanner, scheduler: Scheduler) -> None:
    plans = [step(steps, scheduler, {"r": 4000})[0]]
    while len(plans) < 40:
        plans.append(step(steps, scheduler, {"r": 4000})[0])
    measured = [plan.draw for plan in plans if plan.rows]
    assert len(set(measured)) == len(measured) > 0
    assert {plan.draw for plan in plans if not plan.rows} <= {0}


def budgeted(monkeypatch: pytest.MonkeyPatch, core: Core) -> list[tuple[Any, ...]]:
    """Record what the budget is told."""
    said: list[tuple[Any, ...]] = []
    budget = core.steps._budget
    monkeypatch.setattr(
        budget,
        "took",
        lambda tokens, requests, seconds, *, wanted, reuses: said.append(("took", tokens, requests, wanted)),
    )
    monkeypatch.setattr(
        budget, "charge", lambda tokens, seconds, step: said.append(("charge", tokens, seconds, step))
    )
    monkeypatch.setattr(budget, "begin", lambda tokens: said.append(("begin", tokens)))
    monkeypatch.setattr(core.control, "ended", lambda: 0.5)
    return said


def test_the_budget_is_told_what_a_step_took_and_what_measuring_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    core = Core(Mode.SHADOW, sample_rows=9)
    said = budgeted(monkeypatch, core)
    output = core.step({"r": 40, "s": 2}, new={"r": {}, "s": {}})
    core.steps.update(output, SimpleNamespace())
    assert said == [("begin", 42), ("took", 42, 2, True), ("charge", 42, 0.0, 0.5)]


def test_a_step_that_could_not_be_measured_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    core = Core(Mode.OFF, sample_rows=9)
    said = budgeted(monkeypatch, core)
    core.steps.update(core.step({"r": 40}, new=ONE), SimpleNamespace())
    assert said == [("took", 40, 1, False)]


def test_without_a_seed_steps_are_drawn_by_the_time() -> None:
    core = Core(Mode.SHADOW, sample_rows=1)
    drawn = {core.steps._rng.random() for core in (Core(), Core())}
    assert len(drawn) == 1
    blocks: Any = SimpleNamespace(enter=lambda taint, probes: 0)
    other = StepPlanner(core.control, core, blocks, Credentials("token"))
    assert other._rng.random() not in drawn

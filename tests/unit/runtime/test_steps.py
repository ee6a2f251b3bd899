"""What a step is told to measure, by a stand-in for vLLM's scheduler; all else of steps is tested on a real engine."""

from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_core.contract import Desired, Flags, Mode, Site
from indexcache_runtime.control import Control
from indexcache_runtime.engine import REPLAYED_ROWS, Measured, Probe, StepPlan
from indexcache_runtime.pace import FIRST_AFTER
from indexcache_runtime.vllm.carried import MEASURED, PLAN
from indexcache_runtime.vllm.steps import CHOOSING, Steps

GRAPHED, REPLAYED, K, ROWS = 256, 220, 16, 300


class Scheduler:
    """Gives the steps that it is told to, of requests far over k."""

    def __init__(self) -> None:
        self.kv_cache_manager: Any = SimpleNamespace(record_prefix_cache_stats=None)
        self.requests: dict[str, Any] = {}
        self.next: dict[str, int] = {}

    def schedule(self) -> Any:
        """One step, of so many tokens of each request."""
        self.requests |= {r: SimpleNamespace(num_prompt_tokens=1000, num_computed_tokens=1000 + n) for r, n in self.next.items()}
        return SimpleNamespace(
            total_num_scheduled_tokens=sum(self.next.values()),
            num_scheduled_tokens=self.next,
            scheduled_new_reqs=[],
            finished_req_ids=set(),
        )

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> None: ...


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler()


@pytest.fixture
def steps(scheduler: Scheduler) -> Steps:
    sites = tuple(Site(index=i, layer=i, domain="tokens", k=K) for i in range(4))
    control = Control(Probe("x", sites, graphed_tokens=GRAPHED, replayed_tokens=REPLAYED), engine_version="0.33.0", runtime_version="1")
    flags = Flags(mode=Mode.ON, pattern="FSSS", sample_rows=ROWS)
    control.put(Desired(incarnation=control.incarnation, epoch=1, permit_seconds=600.0, flags=flags))
    blocks: Any = SimpleNamespace(enter=lambda taint: 0)
    return Steps(control, scheduler, blocks, "token", seed=1)


def step(steps: Steps, scheduler: Scheduler, requests: dict[str, int], measured: Measured | None = None) -> tuple[StepPlan, float | None]:
    """One step and its end: its plan, and how long its rows took to choose."""
    scheduler.next = requests
    output = steps.schedule()
    steps.update(output, SimpleNamespace(**{MEASURED: measured} if measured is not None else {}))
    plan: StepPlan = getattr(output, PLAN)
    return plan, getattr(output, CHOOSING, None)


def test_a_step_that_graphs_replay_is_measured_by_what_they_keep(steps: Steps, scheduler: Scheduler) -> None:
    decodes = {f"r{i}": 1 for i in range(200)}
    plans = [step(steps, scheduler, decodes) for _ in range(FIRST_AFTER + 1)]
    assert all(plan.replayed and not plan.rows and chosen is None for plan, chosen in plans[:-1])
    plan, chosen = plans[-1]
    assert plan.replayed
    assert len(plan.rows) == REPLAYED_ROWS < ROWS
    assert chosen is not None


def test_a_step_over_the_largest_whole_graph_is_measured_without_graphs(steps: Steps, scheduler: Scheduler) -> None:
    plans = [step(steps, scheduler, {f"r{i}": 1 for i in range(REPLAYED + 1)})[0] for _ in range(FIRST_AFTER + 1)]
    assert not any(plan.replayed for plan in plans)
    assert len(plans[-1].rows) == REPLAYED + 1


def test_a_longer_step_is_measured_at_once_in_as_many_rows_as_are_wanted(steps: Steps, scheduler: Scheduler) -> None:
    plan, chosen = step(steps, scheduler, {"r": 4000})
    assert not plan.replayed
    assert len(plan.rows) == ROWS
    assert chosen is not None


def test_the_price_of_a_long_step_holds_what_the_engine_core_does_for_it(
    steps: Steps, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr("indexcache_runtime.vllm.steps.time.perf_counter", lambda: float(next(ticks)))
    prices: list[float] = []
    monkeypatch.setattr(steps._pace, "price", lambda tokens, seconds, taken: prices.append(seconds))
    measured = Measured({1: [0.5] * ROWS}, {1: [0.5] * ROWS}, seconds=0.25)
    step(steps, scheduler, {"r": 4000}, measured)
    assert prices == [0.25 + 1 + 1]  # choosing rows, and counting what came back


def test_where_a_worker_tells_no_price_measuring_is_free(steps: Steps, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    prices: list[float] = []
    monkeypatch.setattr(steps._pace, "price", lambda tokens, seconds, taken: prices.append(seconds))
    step(steps, scheduler, {"r": 4000}, Measured({1: [0.5] * ROWS}, {1: [0.5] * ROWS}))
    assert prices == [0.0]

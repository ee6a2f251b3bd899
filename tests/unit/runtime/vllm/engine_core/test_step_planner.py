"""Tests what a step is told to do and what is counted of it, by stand-ins for vLLM's scheduler."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_core.contract import Desired, Flags, InFlight, Mode, Site
from indexcache_core.probe_ids import probe_request_id
from indexcache_runtime.access import Credentials
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.engine import REPLAYED_ROWS, Capabilities, Measured, Row, StepPlan
from indexcache_runtime.measuring.budget import FIRST_AFTER
from indexcache_runtime.measuring.timed_prefills import PREFILL_TOKENS, TIMED_EVERY
from indexcache_runtime.vllm.carried import MEASURED, PLAN
from indexcache_runtime.vllm.engine_core.step_planner import CHOOSING, WANTED, StepPlanner

GRAPHED, REPLAYED, K, ROWS = 256, 220, 16, 300


class Scheduler:
    """Gives the steps that it is told to, of requests far over k."""

    def __init__(self) -> None:
        self.kv_cache_manager: Any = SimpleNamespace(record_prefix_cache_stats=None)
        self.requests: dict[str, Any] = {}
        self.next: dict[str, int] = {}

    def schedule(self) -> Any:
        """Schedule one step, of so many tokens of each request."""
        self.requests |= {
            r: SimpleNamespace(num_prompt_tokens=1000, num_computed_tokens=1000 + n)
            for r, n in self.next.items()
        }
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
def steps(scheduler: Scheduler) -> StepPlanner:
    sites = tuple(Site(index=i, layer=i, domain="tokens", k=K) for i in range(4))
    control = EngineControl(
        Capabilities("x", sites, graphed_tokens=GRAPHED, replayed_tokens=REPLAYED),
        engine_version="0.33.0",
        runtime_version="1",
    )
    flags = Flags(mode=Mode.ON, pattern="FSSS", sample_rows=ROWS)
    control.put(Desired(incarnation=control.incarnation, epoch=1, permit_seconds=600.0, flags=flags))
    blocks: Any = SimpleNamespace(enter=lambda taint: 0)
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


# ---------------------------------------------------------------------- what a step does, and what is counted


class Core:
    """An engine core in small: a scheduler that admits and ends requests as it is told, and records what it
    is asked.
    """

    def __init__(
        self, mode: Any = Mode.ON, timed: bool = False, replayed: int = 0, blocks: Any = None, **flags: Any
    ) -> None:
        self.requests: dict[str, Any] = {}
        self.running: list[Any] = []
        self.prev_step_scheduled_req_ids: set[str] = set()
        self.kv_cache_manager: Any = SimpleNamespace(
            record_prefix_cache_stats=lambda request, hits: self.hits.append((request, hits))
        )
        self.hits: list[tuple[Any, int]] = []
        self.updated: list[tuple[Any, Any]] = []
        self.asked: list[tuple[Any, ...]] = []
        self.preempted: list[str] = []
        self.tainted: list[str | None] = []
        self.output: Any = None
        sites = tuple(Site(index=i, layer=i, domain="tokens", k=K) for i in range(4))
        capabilities = Capabilities("x", sites, timed=timed, replayed_tokens=replayed)
        self.control = EngineControl(capabilities, engine_version="0.33.0", runtime_version="1")
        self.epoch = 0
        self.put(mode, **flags)
        blocks = blocks or SimpleNamespace(
            lookup="lookup",
            enter=self._enter,
            reused_tokens=lambda request, hits: hits // 4 if request == "r" else 0,
        )
        self.steps = StepPlanner(self.control, self, blocks, Credentials("token"), seed=1)

    def put(self, mode: Any, **flags: Any) -> None:
        self.epoch += 1
        content = Flags.model_validate({"mode": mode, "pattern": "FSFS", "sample_rows": 0, **flags})
        self.control.put(
            Desired(
                incarnation=self.control.incarnation, epoch=self.epoch, permit_seconds=600.0, flags=content
            )
        )

    def _enter(self, taint: str | None) -> int:
        self.tainted.append(taint)
        return 2

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        self.asked.append((args, kwargs))
        return self.output

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> str:
        self.updated.append((scheduler_output, model_runner_output))
        return "updated"

    def _preempt_request(self, request: Any, now: float) -> None:
        self.preempted.append(request.request_id)

    def step(
        self,
        tokens: dict[str, int] | None = None,
        new: dict[str, dict[str, Any]] | None = None,
        finished: Any = (),
    ) -> Any:
        """Schedule a step of so many tokens of each request, with these new ones; a request is known by its
        id, its prompt and its end.
        """
        for name, fields in (new or {}).items():
            values = {
                "request_id": name,
                "num_prompt_tokens": 1000,
                "num_computed_tokens": 1000,
                "sampling_params": None,
                **fields,
            }
            self.requests[name] = SimpleNamespace(**values)
            self.running.append(self.requests[name])
        scheduled = tokens if tokens is not None else dict.fromkeys(new or {}, 10)
        self.output = SimpleNamespace(
            total_num_scheduled_tokens=sum(scheduled.values()),
            num_scheduled_tokens=scheduled,
            scheduled_new_reqs=[SimpleNamespace(req_id=name) for name in new or {}],
            finished_req_ids=set(finished),
        )
        return self.steps.schedule()

    @property
    def seen(self) -> Any:
        return self.control.state()


ONE: dict[str, dict[str, Any]] = {"r": {}}
OUT = SimpleNamespace(extra_args={"indexcache": "off"})


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
        assert (plan.mode, plan.pattern, plan.series, plan.rows, plan.timed) == (
            Mode.ON,
            "FSFS",
            1,
            (),
            False,
        )


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


def test_a_request_that_opted_out_has_its_steps_run_all_full() -> None:
    core = Core()
    core.step(new={"out": {"sampling_params": OUT}, "r": {}})
    core.step({"r": 1})
    core.step({"r": 1, "out": 1})
    steps, requests = core.seen.steps, core.seen.requests
    assert (steps.reuse, steps.reuse_all_full) == (1, 2)
    assert (requests.admitted_reuse, requests.admitted_baseline, requests.opted_out) == (1, 1, 1)
    assert (requests.running_reuse, requests.running_baseline) == (1, 1)


def test_requests_are_counted_when_they_come_by_the_mode_and_their_prompt() -> None:
    core = Core(Mode.SHADOW)
    core.step(new={"a": {"num_prompt_tokens": 4 * K + 1}})
    core.put(Mode.ON)
    core.step({"a": 1, "b": 1}, new={"b": {"num_prompt_tokens": K}})
    requests = core.seen.requests
    assert (requests.admitted_baseline, requests.admitted_reuse, requests.touched_by_reuse) == (1, 1, 2)
    assert requests.contexts == (1, 0, 0, 1, 0, 0, 0, 0, 0)
    assert requests.running_reuse == 2
    core.step({"b": 1}, finished=["a"])
    assert (core.seen.requests.finished, core.seen.requests.running_reuse) == (1, 1)


def test_a_probe_by_the_token_before_the_last_change_is_known(tmp_path: Path) -> None:
    core, file = Core(), tmp_path / "token"
    file.write_text("before")
    credentials = core.steps._credentials = Credentials.from_environment({"INDEXCACHE_TOKEN_FILE": str(file)})
    file.write_text("another")
    credentials.refresh()
    core.step(new={probe_request_id("before", "n"): {}, probe_request_id("another", "n"): {}})
    assert core.seen.requests.probes == 2


def test_a_request_with_the_name_of_one_that_ended_keeps_its_opt_out() -> None:
    """vLLM tells of the end of the first in the step that the second is new in."""
    core = Core(Mode.ON)
    core.step(new=ONE)
    (name,) = ONE
    params = SimpleNamespace(extra_args={"indexcache": "off"})
    core.step(new={name: {"sampling_params": params}}, finished=[name])
    assert (core.seen.requests.opted_out, core.seen.requests.finished) == (1, 1)
    before = core.seen.steps.reuse_all_full
    core.step({name: 1})
    assert core.seen.steps.reuse_all_full == before + 1


def test_a_request_with_the_name_of_one_that_ended_is_touched_by_reuse_again() -> None:
    core = Core(Mode.ON)
    core.step(new=ONE)
    (name,) = ONE
    core.step(new=ONE, finished=[name])
    assert name in core.steps._reused
    assert (core.seen.requests.finished, core.seen.requests.running_reuse) == (1, 1)


def test_a_probe_is_no_users_request() -> None:
    core = Core(Mode.SHADOW, sample_rows=64)
    name = probe_request_id("token", "n")
    output = core.step({name: 200, "r": 20}, new={name: {}, "r": {}})
    assert (core.seen.requests.probes, core.seen.requests.admitted_baseline) == (1, 1)
    assert {row.request for row in getattr(output, PLAN).rows} == {"r"}
    forged = Core(Mode.SHADOW)
    forged.step(new={probe_request_id("other", "n"): {}})
    assert forged.seen.requests.probes == 0


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


def test_hits_of_the_prefix_cache_are_counted_by_who_computed_them() -> None:
    core = Core()
    core.steps.record_hits("r", 0)
    core.steps.record_hits("r", 1)
    core.steps.record_hits("r", 40)
    core.steps.record_hits("other", 40)
    core.steps.record_hits("r", 40)
    assert (core.seen.cache.baseline_hits, core.seen.cache.reuse_hits) == (1 + 30 + 40 + 30, 20)
    assert core.hits == [("r", 0), ("r", 1), ("r", 40), ("other", 40), ("r", 40)]


RECOMPUTE: dict[str, Any] = {"in_flight": InFlight.RECOMPUTE}


@pytest.mark.parametrize(
    ("flags", "after", "recomputed"),
    [
        (RECOMPUTE, Mode.OFF, ["a"]),
        (RECOMPUTE, Mode.SHADOW, ["a"]),
        (RECOMPUTE, Mode.ON, []),
        ({}, Mode.OFF, []),
    ],
)
def test_where_reuse_ends_what_it_touched_is_prefilled_again_if_so_asked(
    flags: dict[str, Any], after: Any, recomputed: list[str]
) -> None:
    core = Core(Mode.ON, **flags)
    core.step(new={"a": {}, "gone": {}})
    core.step({"a": 1}, finished=["gone"])
    core.put(after, **flags, min_context_tokens=1)
    core.step({"b": 1}, new={"b": {}})
    core.step({"b": 1})
    assert core.preempted == recomputed
    assert core.seen.cache.recomputed_requests == len(recomputed)


def test_what_was_prefilled_again_is_touched_no_more() -> None:
    core = Core(Mode.ON, **RECOMPUTE)
    core.step(new=ONE)
    core.put(Mode.OFF)
    core.step({"r": 1})
    core.put(Mode.ON, **RECOMPUTE)
    core.step({})
    core.put(Mode.OFF)
    core.step({"r": 1})
    assert core.preempted == ["r"]


def test_what_shadow_computed_is_never_prefilled_again() -> None:
    core = Core(Mode.SHADOW, **RECOMPUTE)
    core.step(new=ONE)
    core.put(Mode.OFF)
    core.step({"r": 1})
    assert core.preempted == []


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
    assert core.control.budget().allows(K, 1)


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
    (series,) = core.seen.series
    assert (series.site, series.mode, series.overlap.sum, series.recall.sum) == (1, Mode.SHADOW, 0.25, 0.75)
    without = core.step({"r": 50})
    core.steps.update(without, SimpleNamespace())
    assert core.seen.series[0].recall.count == 1


def budgeted(monkeypatch: pytest.MonkeyPatch, core: Core) -> list[tuple[Any, ...]]:
    """Record what the budget is told."""
    said: list[tuple[Any, ...]] = []
    budget = core.steps._budget
    monkeypatch.setattr(
        budget,
        "took",
        lambda tokens, requests, seconds, *, wanted: said.append(("took", tokens, requests, wanted)),
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
    blocks: Any = SimpleNamespace(enter=lambda taint: 0)
    other = StepPlanner(core.control, core, blocks, Credentials("token"))
    assert other._rng.random() not in drawn


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


def test_what_waits_when_reuse_ends_is_prefilled_again_when_it_ends_the_next_time() -> None:
    core = Core(Mode.ON, **RECOMPUTE)
    core.step(new={"a": {}, "b": {}})
    waiting = core.running.pop()
    core.put(Mode.OFF)
    core.step({"a": 1})
    assert core.preempted == ["a"]
    core.running = [core.requests["a"], waiting]
    core.put(Mode.ON, **RECOMPUTE)
    core.step({})
    core.put(Mode.OFF)
    core.step({"a": 1})
    assert core.preempted == ["a", "b"]

"""Whatever fails in the runtime itself, the engine serves on: no request is lost, nothing that reuse made is
served to the baseline, vLLM's own functions are back, and the state says what failed.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from indexcache_core.contract import Mode, Reason
from indexcache_runtime.access import Credentials
from indexcache_runtime.control.breaker_control import BreakerControl
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.ledger import Ledger
from indexcache_runtime.control.switch import CallRefused
from indexcache_runtime.engine import StepPlan
from indexcache_runtime.measuring.budget import MeasuringBudget
from indexcache_runtime.measuring.measurements import Measurements
from indexcache_runtime.measuring.timed_prefills import TimedPrefills
from indexcache_runtime.vllm.engine_core import blocks, hasher, probe_requests, step_planner, takeover
from indexcache_runtime.vllm.engine_core.blocks import BlockNamer
from indexcache_runtime.vllm.engine_core.probe_requests import ProbeRequests
from indexcache_runtime.vllm.engine_core.reach import Reach
from indexcache_runtime.vllm.engine_core.step_planner import StepPlanner
from indexcache_runtime.vllm.worker import deepseek_v32_generic as generic

from tests.conformance import checks
from tests.conformance.engine import TOKEN, Engine
from tests.conformance.measuring import every_step

pytestmark = pytest.mark.engine

SCHEDULING: tuple[tuple[Any, str], ...] = (
    (EngineControl, "behaviour"),
    (EngineControl, "ledger"),
    (EngineControl, "started"),
    (BreakerControl, "ask"),
    (Ledger, "admit"),
    (Ledger, "finish"),
    (MeasuringBudget, "allows"),
    (TimedPrefills, "includes"),
    (StepPlanner, "_leave"),
    (StepPlanner, "_finish"),
    (StepPlanner, "_admit"),
    (StepPlanner, "_shares"),
    (StepPlanner, "_leaving"),
    (StepPlanner, "_count"),
    (StepPlanner, "_plan"),
    (StepPlanner, "_users"),
    (StepPlanner, "_draw"),
    (StepPlanner, "_prefilled"),
    (step_planner, "choose"),
    (StepPlanner, "_apart"),
    (Ledger, "any_out"),
    (Ledger, "any_probe"),
    (Ledger, "all_probes"),
    (ProbeRequests, "name"),
    (ProbeRequests, "out"),
    (probe_requests, "opted_out"),
    (Reach, "follow"),
    (Reach, "beyond"),
    (Reach, "leaves"),
)
NAMING: tuple[tuple[Any, str], ...] = (
    (BlockNamer, "enter"),
    (BlockNamer, "_best"),
    (BlockNamer, "_classed"),
    (BlockNamer, "_class_of"),
    (BlockNamer, "reused_tokens"),
    (blocks, "salted"),
    (hasher, "salted"),
)
COUNTING: tuple[tuple[Any, str], ...] = (
    (EngineControl, "ended"),
    (EngineControl, "measured"),
    (EngineControl, "prompts_computed"),
    (EngineControl, "requests_ended"),
    (Measurements, "add"),
    (Measurements, "prefilled"),
    (Measurements, "ended"),
    (MeasuringBudget, "took"),
    (MeasuringBudget, "charge"),
)
WORKING: tuple[tuple[Any, str], ...] = (
    (generic.GenericAdapter, "begin"),
    (generic.GenericAdapter, "ran"),
    (generic.GenericAdapter, "take"),
    (generic.GenericSite, "set"),
    (generic.StepMeasurement, "begin"),
    (generic.StepMeasurement, "rows"),
    (generic.StepMeasurement, "add"),
    (generic.StepMeasurement, "take"),
    (generic, "fresh_sets"),
)
HOOKS = (*SCHEDULING, *NAMING, *COUNTING, *WORKING)


class Broken(Exception):
    """Stands for what the hook raises."""


def broken(*args: Any, **kwargs: Any) -> Any:
    raise Broken("on purpose")


@pytest.fixture
def engine(cpu_engine: tuple[Engine, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Yield the engine at the baseline, every step measured that can be; taken charge of anew afterwards, as
    after a restart.
    """
    e = cpu_engine[0]
    e.reset()
    monkeypatch.setattr(MeasuringBudget, "allows", every_step)
    yield e
    monkeypatch.undo()
    take_charge_anew(e)
    e.reset()


def take_charge_anew(engine: Engine) -> None:
    worker = vars(engine.core.model_executor.driver_worker)
    worker["execute_model"].__self__._adapter.restore()
    for name in ("execute_model", "sample_tokens"):
        worker.pop(name, None)
    if "schedule" in vars(engine.core.scheduler):  # nothing failed in the engine core
        vars(engine.core.scheduler)["schedule"].__self__._leave_to_vllm()
    engine.adopt()
    assert engine.state.supported, engine.state.reasons


@pytest.mark.parametrize(
    ("owner", "name"), HOOKS, ids=lambda x: x if isinstance(x, str) else x.__name__.rpartition(".")[2]
)
def test_a_hook_that_raises_costs_no_request(
    engine: Engine, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    long, *short = engine.prompts[2:]
    engine.put(Mode.ON, checks.alternating(engine), reach_tokens=len(long) + 20)
    engine.ask([long], 4)  # something to be found in the cache
    under_way = [engine.start(p, 12) for p in (long, short[0])]
    for _ in range(4):
        engine.step()
    monkeypatch.setattr(owner, name, broken)
    if owner in (BreakerControl, generic.GenericSite):  # those are asked where flags change
        with contextlib.suppress(CallRefused):  # which it is where asking for the state fails already
            engine.put(Mode.ON, checks.patterns(engine)[-1])
    late = [engine.start(p, 6) for p in (long, *short)]
    answers = engine.finish([*under_way, *late])
    assert [len(a.tokens) for a in answers] == [12] * 2 + [6] * len(late)
    state = engine.state
    assert (state.supported, state.mode, state.reason) == (False, Mode.TRIPPED, Reason.INTERNAL_ERROR)
    assert "on purpose" in state.message
    assert state.message in state.reasons
    engine.step()
    assert_vllms_own(engine)
    checks.agree(engine.ask(engine.prompts[2:4], 16), engine.untouched[2:4], engine.binding.rounding)
    with pytest.raises(CallRefused, match="Unsupported"):
        engine.put(Mode.ON, checks.alternating(engine))
    engine.kill()


def assert_vllms_own(engine: Engine) -> None:
    scheduler = engine.core.scheduler
    assert not {"schedule", "update_from_output"} & vars(scheduler).keys()
    assert not {"get_computed_blocks", "record_prefix_cache_stats"} & vars(scheduler.kv_cache_manager).keys()
    assert not isinstance(engine.core.request_block_hasher, hasher.Hasher)
    for layer in engine.model.model.layers:
        assert "select" not in vars(layer.self_attn.indexer.indexer_op)


def test_a_failure_in_shadow_changes_no_token(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.put(Mode.SHADOW, checks.alternating(engine), sample_rows=64)
    monkeypatch.setattr(generic, "compare", broken)
    checks.agree(engine.ask(engine.prompts, 16), engine.untouched, engine.binding.repeats)
    assert engine.state.reason is Reason.INTERNAL_ERROR


@pytest.mark.parametrize(
    "name",
    [
        "icprobe-a-é",
        "icprobe-é-a",
        "icprobe-\ud800-\udfff",
        "icprobe-",
        "icprobe--",
        "\0icprobe-a-b",
        "é" * 300,
    ],
)
def test_any_id_of_a_request_is_served(engine: Engine, name: str) -> None:
    engine.put(Mode.ON, checks.alternating(engine))
    (answer,) = engine.finish([engine.start(engine.prompts[-1], 4, name)])
    assert len(answer.tokens) == 4
    assert (engine.state.supported, engine.state.mode) == (True, Mode.ON)


def test_a_start_that_fails_is_said_and_leaves_the_engine_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_back(engine)
    monkeypatch.setattr(engine.core, "collective_rpc", broken)
    control = takeover.adopt(engine.core, Credentials(TOKEN))
    assert not control.state().supported
    assert "on purpose" in control.state().reasons[0]
    assert_vllms_own(engine)


def take_back(engine: Engine) -> None:
    """Leave the engine to vLLM."""
    engine.ask(engine.prompts[-1:], 1)
    stop: Callable[[], None] = vars(engine.core.scheduler)["schedule"].__self__._leave_to_vllm
    stop()


def test_a_model_that_cannot_be_put_back_is_not_served_as_if_it_were(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What such a step would compute is neither the baseline nor the pattern."""
    from indexcache_runtime.vllm.worker.plan_runner import PlanRunner

    worker: PlanRunner = vars(engine.core.model_executor.driver_worker)["execute_model"].__self__
    monkeypatch.setattr(generic.GenericAdapter, "begin", broken)
    monkeypatch.setattr(generic.GenericAdapter, "restore", broken)
    with pytest.raises(Broken):
        worker._guarded(worker._adapter.begin, StepPlan(Mode.ON, "FSSS"))


def other_scheduler(monkeypatch: pytest.MonkeyPatch) -> str:
    from vllm.v1.core.sched.scheduler import Scheduler

    monkeypatch.setattr(Scheduler, "_preempt_request", lambda self, request, when, why: None)
    return "Scheduler._preempt_request has the parameters self, request, when, why"


def other_cache(monkeypatch: pytest.MonkeyPatch) -> str:
    from vllm.v1.core.kv_cache_manager import KVCacheManager

    monkeypatch.delattr(KVCacheManager, "record_prefix_cache_stats")
    return "there is no vllm.v1.core.kv_cache_manager.KVCacheManager.record_prefix_cache_stats"


def other_requests(monkeypatch: pytest.MonkeyPatch) -> str:
    from vllm.v1.request import Request

    monkeypatch.setattr(Request, "update_block_hashes", lambda self: None)
    return "Request.block_hashes doesn't hold what its hasher returns"


def other_workers(monkeypatch: pytest.MonkeyPatch) -> str:
    from indexcache_runtime.vllm import seam

    monkeypatch.setattr(seam, "WORKER", (*seam.WORKER, "renamed"))
    return "WorkerWrapperBase has no renamed"


@pytest.mark.parametrize("change", [other_scheduler, other_cache, other_requests, other_workers])
def test_a_vllm_that_differs_is_left_alone_and_the_name_is_said(
    engine: Engine, change: Callable[[pytest.MonkeyPatch], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_back(engine)
    with monkeypatch.context() as m:
        said = change(m)
        state = takeover.adopt(engine.core, Credentials(TOKEN)).state()
    assert not state.supported
    assert said in " ".join(state.reasons)
    assert_vllms_own(engine)

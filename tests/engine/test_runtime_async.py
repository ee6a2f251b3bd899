"""Measurements of asynchronously scheduled steps. No CPU engine schedules so, so this is the worker's side
alone.
"""

import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_runtime.engine import Measured, StepPlan
from indexcache_runtime.vllm.carried import MEASURED, PLAN
from indexcache_runtime.vllm.worker.plan_runner import PlanRunner

pytestmark = pytest.mark.engine


def test_measurements_ride_on_asynchronous_outputs_too() -> None:
    from vllm.v1.outputs import AsyncModelRunnerOutput, ModelRunnerOutput

    class Waiting(AsyncModelRunnerOutput):  # type: ignore[misc]
        def get_output(self) -> ModelRunnerOutput:
            events.append("awaited")
            return ModelRunnerOutput(req_ids=["a"], req_id_to_index={"a": 0})

    def measured() -> Measured:
        events.append("measured")
        return result

    events: list[str] = []
    result = Measured(overlap={1: [0.5]}, recall={1: [0.25]})
    adapter: Any = SimpleNamespace(
        lock=None, begin=lambda plan: None, ran=lambda: None, take=lambda: measured
    )
    wrapper = SimpleNamespace(execute_model=lambda output: None, sample_tokens=lambda grammar: Waiting())
    PlanRunner(wrapper, adapter).install()
    assert wrapper.execute_model(SimpleNamespace(**{PLAN: StepPlan(Mode.ON, "FS", 1)})) is None
    wrapped = wrapper.sample_tokens(None)
    assert isinstance(wrapped, AsyncModelRunnerOutput)
    assert events == []  # nothing is waited for on the way
    out = pickle.loads(pickle.dumps(wrapped.get_output()))
    assert (out.req_ids, getattr(out, MEASURED)) == (["a"], result)
    assert events == ["awaited", "measured"]
    wrapper.execute_model(SimpleNamespace())
    assert type(wrapper.sample_tokens(None)) is Waiting

"""Measurements of asynchronously scheduled steps. No CPU engine schedules so, so this is the seam alone."""

import pickle

import pytest
from indexcache_runtime.engine import Measured
from indexcache_runtime.vllm.steps import MEASURED
from indexcache_runtime.vllm.worker import later

pytestmark = pytest.mark.engine


def test_measurements_ride_on_asynchronous_outputs_too() -> None:
    from vllm.v1.outputs import AsyncModelRunnerOutput, ModelRunnerOutput

    class Waiting(AsyncModelRunnerOutput):  # type: ignore[misc]
        def get_output(self) -> ModelRunnerOutput:
            return ModelRunnerOutput(req_ids=["a"], req_id_to_index={"a": 0})

    measured = Measured(overlap={1: [0.5]}, recall={1: [0.25]})
    wrapped = later(Waiting(), measured)
    assert isinstance(wrapped, AsyncModelRunnerOutput)
    out = pickle.loads(pickle.dumps(wrapped.get_output()))
    assert (out.req_ids, getattr(out, MEASURED)) == (["a"], measured)

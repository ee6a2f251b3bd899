"""Observations of requests whose steps are scheduled ahead: vLLM's asynchronous scheduler with made-up
outputs, since no CPU engine schedules so.
"""

from typing import Any

import pytest
from indexcache_core.contract import Desired, Flags, Mode, Work
from indexcache_runtime.engine import Measured
from indexcache_runtime.measuring.budget import MeasuringBudget
from indexcache_runtime.vllm.carried import MEASURED, PLAN
from indexcache_runtime.vllm.engine_core.step_planner import PREFILLED

from tests.conformance.engine import Engine
from tests.conformance.measuring import every_step
from tests.engine.cpu_binding import at_each_block_size
from tests.engine.test_recompute_async import PROMPT, Core

pytestmark = [pytest.mark.engine, at_each_block_size]


class MeasuringCore(Core):
    """Measures each step that is to be measured, as it is told."""

    recall = 0.5

    def deliver(self, output: Any, token: int) -> None:
        if (plan := getattr(output, PLAN, None)) is not None and plan.rows:
            values = {1: [self.recall] * len(plan.rows)}
            self.measured = Measured(values, values)
        super().deliver(output, token)

    def result(self, **fields: Any) -> Any:
        out = super().result(**fields)
        if (measured := vars(self).pop("measured", None)) is not None:
            setattr(out, MEASURED, measured)
        return out

    @property
    def counted(self) -> dict[Work | None, tuple[int, float]]:
        """Return count and sum of site 1's observations, by kind of work."""
        return {
            s.work: (s.recall.count, s.recall.sum)
            for s in self.control.state().observed
            if s.site == 1 and s.context == 2
        }


@pytest.fixture
def core(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> MeasuringCore:
    monkeypatch.setattr(MeasuringBudget, "allows", every_step)
    core = MeasuringCore(engine, monkeypatch)
    flags = Flags(mode=Mode.SHADOW, pattern="FSSS", sample_rows=500)
    core.control.put(Desired(incarnation=core.control.incarnation, epoch=1, permit_seconds=600, flags=flags))
    return core


def test_what_was_scheduled_before_the_end_was_known_is_booked_with_it_and_once(core: MeasuringCore) -> None:
    request = core.add("a", PROMPT)
    request.max_tokens = 3
    prompt, second, third = (core.scheduler.schedule() for _ in range(3))
    assert getattr(prompt, PREFILLED) == ("a",)
    assert core.counted == {}
    core.recall = 0.25
    core.deliver(prompt, 10)
    assert core.counted == {Work.PREFILL: (1, 0.25)}
    core.deliver(second, 11)
    core.recall = 0.75
    core.deliver(third, 12)
    assert request.is_finished()
    assert core.counted == {Work.PREFILL: (1, 0.25)}
    last = core.scheduler.schedule()
    assert last.finished_req_ids == {"a"}
    core.deliver(last, 13)
    assert core.counted == {Work.PREFILL: (1, 0.25), Work.DECODE: (1, 0.5)}


def test_a_request_that_is_aborted_with_steps_in_flight_is_booked_when_they_are_back(
    core: MeasuringCore,
) -> None:
    from vllm.v1.request import RequestStatus

    core.add("a", PROMPT)
    prompt, second = core.scheduler.schedule(), core.scheduler.schedule()
    core.deliver(prompt, 10)
    core.scheduler.finish_requests("a", RequestStatus.FINISHED_ABORTED)
    last = core.scheduler.schedule()
    core.recall = 1.0
    core.deliver(second, 11)
    assert Work.DECODE not in core.counted
    core.deliver(last, 12)
    core.deliver(core.scheduler.schedule(), 13)
    assert core.counted == {Work.PREFILL: (1, 0.5), Work.DECODE: (1, 1.0)}

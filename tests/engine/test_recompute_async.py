"""Recomputing where steps are in flight: vLLM's asynchronous scheduler with made-up outputs, since no CPU
engine schedules so.

Nothing that was sampled may be lost or delivered twice, and nothing may be computed from what reuse made.
"""

from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_core.contract import Desired, Flags, InFlight, Kill, Mode
from indexcache_runtime.access import Credentials
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.engine import Capabilities
from indexcache_runtime.vllm.carried import PLAN
from indexcache_runtime.vllm.engine_core.blocks import BlockNamer
from indexcache_runtime.vllm.engine_core.hasher import ATTRIBUTE
from indexcache_runtime.vllm.engine_core.opted_out import opted_out
from indexcache_runtime.vllm.engine_core.step_planner import StepPlanner

from tests.conformance.engine import TOKEN, Engine, prompts
from tests.engine.cpu_binding import at_each_block_size

pytestmark = [pytest.mark.engine, at_each_block_size]

PROMPT, OTHER = prompts(31, 136, 20)
"""The first has whole blocks at either size, and both fit into a step."""


class Core:
    """An engine core in small: our steps on an asynchronous scheduler of its own, and outputs by hand."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        from vllm.v1.core.sched.async_scheduler import AsyncScheduler

        self.engine, core = engine, engine.core
        monkeypatch.setattr(core.vllm_config.scheduler_config, "async_scheduling", True)
        self.scheduler = AsyncScheduler(
            vllm_config=core.vllm_config,
            kv_cache_config=core.scheduler.kv_cache_config,
            structured_output_manager=core.structured_output_manager,
            block_size=core.scheduler.block_size,
            hash_block_size=core.scheduler.hash_block_size,
        )
        self.hasher = core.request_block_hasher
        self.control = EngineControl(Capabilities("m", engine.control.sites))
        blocks = BlockNamer(self.scheduler, self.scheduler.hash_block_size, opted_out)
        StepPlanner(self.control, self.scheduler, blocks, Credentials(TOKEN), seed=1).install(
            SimpleNamespace(request_block_hasher=None)
        )
        self.delivered: dict[str, list[int]] = {}

    def put(self, epoch: int, in_flight: InFlight) -> None:
        flags = Flags(mode=Mode.ON, pattern="FSSS", in_flight=in_flight)
        self.control.put(
            Desired(incarnation=self.control.incarnation, epoch=epoch, permit_seconds=600, flags=flags)
        )

    def add(self, name: str, prompt: list[int], extra: dict[str, Any] | None = None) -> Any:
        from vllm import SamplingParams
        from vllm.v1.request import Request

        params = SamplingParams(max_tokens=50, temperature=0, ignore_eos=True, extra_args=extra)
        request = Request(name, list(prompt), params, None, block_hasher=self.hasher)
        self.scheduler.add_request(request)
        return request

    def result(self, **fields: Any) -> Any:
        """Return what a worker says of a step."""
        from vllm.v1.outputs import ModelRunnerOutput

        return ModelRunnerOutput(**fields)

    def deliver(self, output: Any, token: int) -> None:
        """Deliver a step's end; each of its requests sampled this token."""
        names = list(output.num_scheduled_tokens)
        index = {name: i for i, name in enumerate(names)}
        result = self.result(req_ids=names, req_id_to_index=index, sampled_token_ids=[[token]] * len(names))
        for outputs in self.scheduler.update_from_output(output, result).values():
            for out in outputs.outputs:
                self.delivered.setdefault(out.request_id, []).extend(out.new_token_ids)


@pytest.fixture
def core(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Core:
    return Core(engine, monkeypatch)


def test_tokens_in_flight_are_delivered_once_and_then_all_is_computed_again(core: Core) -> None:
    request, other = core.add("a", PROMPT), core.add("b", OTHER, {"indexcache": "off"})
    core.put(1, InFlight.RECOMPUTE)
    first = core.scheduler.schedule()
    assert not hasattr(
        first, PLAN
    )  # with "b" in it, it runs all Full; "a" counts as computed under reuse all the same
    second = core.scheduler.schedule()
    core.deliver(first, 10)
    third = core.scheduler.schedule()
    core.control.kill(Kill(reason="test"))
    fourth = core.scheduler.schedule()
    assert set(fourth.num_scheduled_tokens) == {"b"}  # "a" waits for what is in flight
    assert core.control.state().cache.recomputed_requests == 1
    core.deliver(second, 11)
    core.deliver(third, 12)
    fifth = core.scheduler.schedule()
    assert fifth.num_scheduled_tokens["a"] == len(PROMPT) + 3
    assert not hasattr(fifth, PLAN)
    assert not hasattr(request, ATTRIBUTE)
    core.deliver(fourth, 13)
    sixth = core.scheduler.schedule()
    core.deliver(fifth, 14)
    core.deliver(sixth, 15)
    assert core.delivered == {"a": [10, 11, 12, 14, 15], "b": [10, 11, 12, 13, 14, 15]}
    assert list(request.output_token_ids) == core.delivered["a"]
    assert list(other.output_token_ids) == core.delivered["b"]
    # What was computed again is in the cache under the baseline's names.
    again = core.add("c", PROMPT)
    core.scheduler.schedule()
    assert again.num_computed_tokens == len(PROMPT)
    assert core.control.state().cache.baseline_hits >= core.engine.cacheable(PROMPT) > 0


def test_a_request_that_ends_in_flight_ends(core: Core) -> None:
    request = core.add("a", PROMPT)
    request.max_tokens = 2
    core.put(1, InFlight.RECOMPUTE)
    first = core.scheduler.schedule()
    second = core.scheduler.schedule()
    core.control.kill(Kill(reason="test"))
    core.scheduler.schedule()
    core.deliver(first, 10)
    core.deliver(second, 11)
    assert core.delivered == {"a": [10, 11]}
    assert request.is_finished()
    assert core.scheduler.schedule().num_scheduled_tokens == {}
    assert not core.scheduler.has_unfinished_requests()


def test_a_second_flip_finds_the_request_waiting(core: Core) -> None:
    request = core.add("a", PROMPT)
    core.put(1, InFlight.RECOMPUTE)
    first = core.scheduler.schedule()
    core.control.kill(Kill(reason="test"))
    core.scheduler.schedule()
    core.put(2, InFlight.RECOMPUTE)
    core.scheduler.schedule()
    core.control.kill(Kill(reason="test"))
    core.deliver(first, 10)
    last = core.scheduler.schedule()
    core.deliver(last, 11)
    assert core.delivered == {"a": [10, 11]}
    assert last.num_scheduled_tokens == {"a": len(PROMPT) + 1}
    assert not hasattr(request, ATTRIBUTE)
    assert core.control.state().cache.recomputed_requests == 1

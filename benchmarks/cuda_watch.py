"""Records what an engine of benchmarks/cuda_engine.py does, watched from outside the runtime: its steps, and
which of them computed which block.
"""

import time
from collections import deque
from dataclasses import dataclass
from typing import Any


@dataclass
class Step:
    """A step of the model."""

    handed_over: float
    """To the worker, on this machine's clock."""
    reuse: bool
    ended: float = 0.0
    """When its output was there; 0: not yet."""


def watch(core: Any) -> list[Step]:
    """Record all steps of an engine core from here on. They run in the order in which they are handed over,
    and end in it.
    """
    from indexcache_runtime.vllm.carried import PLAN

    wrapper, scheduler = core.model_executor.driver_worker, core.scheduler
    steps: list[Step] = []
    running: deque[Step] = deque()
    execute = getattr(wrapper.execute_model, "own", wrapper.execute_model)
    update = getattr(scheduler.update_from_output, "own", scheduler.update_from_output)

    def executed(scheduler_output: Any) -> Any:
        if scheduler_output.total_num_scheduled_tokens:
            plan = getattr(scheduler_output, PLAN, None)
            steps.append(Step(time.monotonic(), plan is not None and plan.mode.value == "on"))
            running.append(steps[-1])
        return execute(scheduler_output)

    def updated(scheduler_output: Any, model_runner_output: Any) -> Any:
        if scheduler_output.total_num_scheduled_tokens and running:
            running.popleft().ended = time.monotonic()
        return update(scheduler_output, model_runner_output)

    executed.own, updated.own = execute, update  # type: ignore[attr-defined]
    wrapper.execute_model, scheduler.update_from_output = executed, updated
    return steps


class Provenance:
    """Records which blocks of the KV cache were last written under reuse, by what each step computes, and
    which are served from the cache.
    """

    def __init__(self, core: Any, reusing: Any) -> None:
        self.reuse: set[int] = set()
        self.count, self.tainted, self.clean, self.older, self.asked = False, 0, 0, 0, 0
        newer: set[int] = set()
        scheduler = core.scheduler
        size, schedule, manager = scheduler.block_size, scheduler.schedule, scheduler.kv_cache_manager

        def watched(*args: Any, **kwargs: Any) -> Any:
            output = schedule(*args, **kwargs)
            new, on = {request.req_id for request in output.scheduled_new_reqs}, reusing()
            for (
                request,
                tokens,
            ) in (
                output.num_scheduled_tokens.items()
            ):  # as scheduled: a request may be served what one before it computes
                end = scheduler.requests[request].num_computed_tokens
                blocks, first = manager.get_block_ids(request)[0], (end - tokens) // size
                if self.count and request in new:
                    self.tainted += sum(block in self.reuse for block in blocks[:first])
                    self.clean += sum(block not in self.reuse for block in blocks[:first])
                    self.older += sum(
                        block not in self.reuse and block not in newer for block in blocks[:first]
                    )
                    self.asked += scheduler.requests[request].num_prompt_tokens // size
                touched = blocks[first : -(-end // size)]
                whole = touched[
                    bool((end - tokens) % size) :
                ]  # what was begun in another step stays what that step made it
                newer.update(touched if self.count else ())
                self.reuse.update(touched) if on else self.reuse.difference_update(whole)
            return output

        scheduler.schedule = watched

"""The engine core's side: what each step does is settled here, when vLLM schedules it, and counted here, when it comes back.

Installed on the scheduler's instance, only in an engine that is supported and controlled. At the baseline a step pays for its counts: a
few dictionary writes for each request that comes or goes.
"""

import random
import time
from collections.abc import Iterator
from typing import Any

from indexcache_core.contract import InFlight, Mode, is_probe

from indexcache_runtime.control import BASELINE, Behaviour, Control
from indexcache_runtime.engine import Measured, Row, StepPlan
from indexcache_runtime.sampling import Scheduled, choose
from indexcache_runtime.vllm.blocks import Blocks
from indexcache_runtime.vllm.optout import opted_out
from indexcache_runtime.vllm.recompute import recompute

PLAN, MEASURED = "indexcache_plan", "indexcache_measured"
"""Attributes of vLLM's SchedulerOutput and ModelRunnerOutput; absent where there is nothing to say. Both are pickled with them."""


class Steps:
    """One engine core's steps."""

    def __init__(self, control: Control, scheduler: Any, blocks: Blocks, token: str, *, seed: int | None = None) -> None:
        self._control, self._scheduler, self._blocks, self._token = control, scheduler, blocks, token
        self._schedule, self._update = scheduler.schedule, scheduler.update_from_output
        self._record_hits = scheduler.kv_cache_manager.record_prefix_cache_stats
        self._rng = random.Random(time.time_ns() if seed is None else seed)
        self._last = BASELINE
        self._reused: set[str] = set()
        """Requests in flight whose KV holds what a step in mode on computed."""
        self._pace = control.pace()

    def install(self) -> None:
        """Put this between vLLM's engine core and its scheduler."""
        self._scheduler.schedule, self._scheduler.update_from_output = self.schedule, self.update
        self._scheduler.kv_cache_manager.record_prefix_cache_stats = self.record_hits

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """In place of Scheduler.schedule."""
        behaviour = self._control.behaviour()
        recomputed = self._leave(behaviour)
        resalted = self._blocks.enter(behaviour.taint)
        output = self._schedule(*args, **kwargs)
        out = self._admit(output, behaviour)
        scheduled = [] if behaviour.mode is Mode.OFF else list(self._scheduled(output))
        short = max((s.end for s in scheduled), default=0) < behaviour.min_context_tokens
        all_full = short or (behaviour.mode is Mode.ON and bool(out)) or "S" not in behaviour.pattern
        self._count(output, behaviour, out, resalted=resalted, recomputed=recomputed, all_full=all_full)
        measurable = [] if all_full else scheduled
        tokens = output.total_num_scheduled_tokens
        if tokens and (plan := self._plan(measurable, behaviour, tokens)) is not None:
            setattr(output, PLAN, plan)
        if tokens:
            self._control.started()
        return output

    def update(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        """In place of Scheduler.update_from_output."""
        plan: StepPlan | None = getattr(scheduler_output, PLAN, None)
        if tokens := scheduler_output.total_num_scheduled_tokens:
            self._pace.took(tokens, self._control.ended())
        measured: Measured | None = getattr(model_runner_output, MEASURED, None)
        if measured is not None and plan is not None:
            self._control.measured(plan, measured)
        return self._update(scheduler_output, model_runner_output)

    def record_hits(self, request: Any, num_hits: int) -> None:
        """In place of KVCacheManager.record_prefix_cache_stats, which vLLM calls once for each admission."""
        if num_hits:
            reused = self._blocks.reused_tokens(request, num_hits)
            with self._control.ledger() as ledger:
                ledger.reuse_hits += reused
                ledger.baseline_hits += num_hits - reused
        self._record_hits(request, num_hits)

    def _scheduled(self, output: Any) -> Iterator[Scheduled]:
        requests = self._scheduler.requests
        for request, tokens in output.num_scheduled_tokens.items():
            end = requests[request].num_computed_tokens  # advanced by this step already
            yield Scheduled(request, end - tokens, end)

    def _leave(self, behaviour: Behaviour) -> int:
        """Where reuse ended, recompute what it touched, if its flags said so. Returns how many requests."""
        last, self._last = self._last, behaviour
        if last.mode is not Mode.ON or behaviour.mode is Mode.ON or last.in_flight is not InFlight.RECOMPUTE:
            return 0
        clean = recompute(self._scheduler, self._reused)
        self._reused -= clean
        return len(clean)

    def _admit(self, output: Any, behaviour: Behaviour) -> set[str]:
        """Count the requests that are new in a step. Returns those of the step that opted out."""
        with self._control.ledger() as ledger:
            for new in output.scheduled_new_reqs:
                request = self._scheduler.requests[new.req_id]
                ledger.admit(
                    new.req_id,
                    prompt_tokens=request.num_prompt_tokens,
                    reuse=behaviour.mode is Mode.ON,
                    probe=is_probe(new.req_id, self._token),
                    opted_out=opted_out(request),
                )
            return ledger.out_of(output.num_scheduled_tokens)

    def _count(self, output: Any, behaviour: Behaviour, out: set[str], *, resalted: int, recomputed: int, all_full: bool) -> None:
        on = behaviour.mode is Mode.ON
        if on:
            self._reused.update(request for request in output.num_scheduled_tokens if request not in out)
        self._reused.difference_update(output.finished_req_ids)
        with self._control.ledger() as ledger:
            ledger.resalted += resalted
            ledger.recomputed += recomputed
            if on:
                for request in output.num_scheduled_tokens:
                    ledger.touch(request)
            for request in output.finished_req_ids:
                ledger.finish(request)
            if output.total_num_scheduled_tokens:
                if not on:
                    ledger.full += 1
                elif all_full:
                    ledger.reuse_all_full += 1
                else:
                    ledger.reuse += 1

    def _plan(self, scheduled: list[Scheduled], behaviour: Behaviour, tokens: int) -> StepPlan | None:
        timed = self._pace.time(tokens)
        shared = "S" in behaviour.pattern and bool(scheduled)
        rows: tuple[Row, ...] = ()
        if shared and not timed and self._pace.measure(tokens):
            with self._control.ledger() as ledger:
                users = [s for s in scheduled if not ledger.is_probe(s.request)]
            if rows := choose(users, self._control.k, behaviour.sample_rows, self._rng):
                self._pace.measuring(tokens)
        if shared and behaviour.mode is Mode.ON:
            return StepPlan(Mode.ON, behaviour.pattern, behaviour.series, rows, timed)
        if rows:
            return StepPlan(Mode.SHADOW, behaviour.pattern, behaviour.series, rows)
        return StepPlan(Mode.OFF, timed=True) if timed else None

"""The engine core's side: what each step does is settled here, when vLLM schedules it, and counted here, when
it comes back.

Installed on the scheduler's instance, only in an engine that is supported and controlled. At the baseline a
step pays for its counts: a few dictionary writes for each request that comes or goes.

Nothing here may take the engine down. Whatever is raised, here, in naming blocks or in a worker, is told to
the control, which stops reuse for good; a step that it happened in runs all Full, vLLM's own functions are
put back before the next one, and what vLLM itself raises is vLLM's. Blocks keep their names: those of
requests that were touched by reuse can't become the baseline's by that.
"""

import random
import time
from collections.abc import Callable, Set
from typing import Any

from indexcache_core.contract import InFlight, Mode, Work
from indexcache_core.pattern import SHARED

from indexcache_runtime.access import Credentials
from indexcache_runtime.control.behaviour import BASELINE, Behaviour
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.ledger import Ledger
from indexcache_runtime.engine import REPLAYED_ROWS, Measured, Row, StepPlan
from indexcache_runtime.measuring.sampling import Scheduled, choose
from indexcache_runtime.vllm.carried import FAILED, MEASURED, PLAN
from indexcache_runtime.vllm.engine_core.blocks import BlockNamer
from indexcache_runtime.vllm.engine_core.hasher import vllms_own
from indexcache_runtime.vllm.engine_core.probe_requests import ProbeRequests, apart_class
from indexcache_runtime.vllm.engine_core.reach import Reach
from indexcache_runtime.vllm.engine_core.recompute import recompute

WANTED, CHOOSING, PREFILLED = "indexcache_wanted", "indexcache_choosing", "indexcache_prefilled"
"""Attributes of vLLM's SchedulerOutput that only the engine core reads: whether the step could be measured,
the seconds that it took to choose rows, and the measured requests whose prompts it completes. Absent where
there is nothing to say; pickled with it."""


class StepPlanner:
    """Plans one engine core's steps, and counts them."""

    def __init__(
        self,
        control: EngineControl,
        scheduler: Any,
        blocks: BlockNamer,
        credentials: Credentials,
        *,
        seed: int | None = None,
    ) -> None:
        self._control, self._scheduler, self._blocks = control, scheduler, blocks
        self.probes = ProbeRequests(credentials, control.k)
        self.reach = Reach(lambda request: self.probes.exempt(request))
        self._schedule, self._update = scheduler.schedule, scheduler.update_from_output
        self._record_hits = scheduler.kv_cache_manager.record_prefix_cache_stats
        self._rng = random.Random(time.time_ns() if seed is None else seed)
        self._last = BASELINE
        self._live: dict[str, Any] = {}
        """Requests in flight that were scheduled, as vLLM has them: it forgets them before it tells their
        end."""
        self._reused: set[str] = set()
        """Requests in flight whose KV holds what a step in mode on computed."""
        self._budget, self._timed_prefills = control.budget(), control.timed_prefills()
        self._failed = False

    def install(self, core: Any) -> None:
        """Put this between vLLM's engine core and its scheduler."""
        self._core = core
        if core.request_block_hasher is not None:
            core.request_block_hasher = self._blocks.hasher(core.request_block_hasher)
        manager = self._scheduler.kv_cache_manager
        self._scheduler.schedule, self._scheduler.update_from_output = self.schedule, self.update
        manager.get_computed_blocks, manager.record_prefix_cache_stats = self._blocks.lookup, self.record_hits

    def fail(self, doing: str, error: BaseException | str) -> None:
        """Stop reuse for good. May be called while a step is scheduled, and from any thread."""
        if not self._failed:
            self._failed = True
            self._control.fail(doing, error)

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """Stand in for Scheduler.schedule."""
        self._failed = self._failed or self._control.gave_up
        begun = self._guarded("beginning a step", self._begin)
        output = self._schedule(*args, **kwargs)
        if begun is not None:
            self._guarded("scheduling a step", self._settle, output, *begun)
        if self._failed:
            self._leave_to_vllm()
            for name in (PLAN, WANTED, CHOOSING, PREFILLED):
                vars(output).pop(name, None)
        return output

    def _guarded(self, doing: str, do: Callable[..., Any], *args: Any) -> Any:
        """Call one of ours. Returns None where it failed, or something did before."""
        if self._failed:
            return None
        try:
            return do(*args)
        except Exception as e:  # noqa: BLE001  # told, and reuse stops
            self.fail(doing, e)
            return None

    def _leave_to_vllm(self) -> None:
        """Put vLLM's own functions back. Requests that have the hasher keep it: it leaves those alone that
        reuse never touched."""
        self._core.request_block_hasher = vllms_own(self._core.request_block_hasher)
        for owner, names in (
            (self._scheduler, ("schedule", "update_from_output")),
            (self._scheduler.kv_cache_manager, ("get_computed_blocks", "record_prefix_cache_stats")),
        ):
            for name in names:
                vars(owner).pop(name, None)

    def _begin(self) -> tuple[Behaviour, int, int, list[Any]]:
        """Settle what the step does. Returns it, how many requests are recomputed and got other names, and
        those that reuse no longer reaches."""
        behaviour = self._control.behaviour()
        recomputed = self._leave(behaviour)
        left = self.reach.follow(behaviour.reach_tokens, self._scheduler.requests.values())
        resalted = self._blocks.enter(behaviour.taint, apart_class(behaviour))
        resalted += sum(self._blocks.rename(request) for request in left)
        return behaviour, recomputed, resalted, left

    def _leaving(self, output: Any) -> list[Any]:
        """Return the requests of a step that reuse doesn't reach from it on."""
        if self.reach.tokens is None:
            return []
        requests = (self._scheduler.requests[name] for name in output.num_scheduled_tokens)
        return [request for request in requests if self.reach.leaves(request)]

    def _settle(
        self, output: Any, behaviour: Behaviour, recomputed: int, resalted: int, left: list[Any]
    ) -> None:
        """Count what was scheduled, and let it carry what its workers do."""
        tokens, leaving = output.total_num_scheduled_tokens, self._leaving(output)
        resalted += sum(self._blocks.rename(request) for request in leaving)
        with self._control.ledger() as ledger:
            ledger.resalted += resalted
            ledger.recomputed += recomputed
            self._finish(ledger, output)  # first: a request may have the name of one that ended
            self._admit(ledger, output, behaviour)
            for request in (*left, *leaving):
                ledger.leave(request.request_id)
            shares = self._shares(output, behaviour)
            held = behaviour.mode is Mode.ON and ledger.any_out(output.num_scheduled_tokens)
            beyond = ledger.beyond(output.num_scheduled_tokens) if shares and held else set()
            all_full = held or not shares
            apart = not all_full and self._apart(ledger, output, behaviour)
            self._count(ledger, output, behaviour, all_full=all_full, apart=apart)
        if tokens:
            plan = self._plan(output, behaviour, reusable=not all_full, apart=apart, beyond=beyond)
            if plan is not None:
                setattr(output, PLAN, plan)
            if prefilled := self._prefilled(plan):
                setattr(output, PREFILLED, prefilled)
            if (beyond or not (all_full or apart)) and behaviour.sample_rows:
                setattr(output, WANTED, True)
            self._control.started()

    def update(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        """Stand in for Scheduler.update_from_output."""
        if (failure := getattr(model_runner_output, FAILED, None)) is not None:
            self.fail("running a step", failure)
        self._guarded("counting a step", self._ended, scheduler_output, model_runner_output)
        return self._update(scheduler_output, model_runner_output)

    def _ended(self, scheduler_output: Any, model_runner_output: Any) -> None:
        """Count what a step measured, and how long it took."""
        plan: StepPlan | None = getattr(scheduler_output, PLAN, None)
        measured: Measured | None = getattr(model_runner_output, MEASURED, None)
        # In order: by now all is added that was measured of requests that had ended when this was scheduled.
        if scheduler_output.finished_req_ids:
            self._control.requests_ended(scheduler_output.finished_req_ids)
        if tokens := scheduler_output.total_num_scheduled_tokens:
            seconds = self._control.ended()
            requests = len(scheduler_output.num_scheduled_tokens)
            self._budget.took(
                tokens,
                requests,
                seconds,
                wanted=getattr(scheduler_output, WANTED, False),
                reuses=plan is not None and plan.mode is Mode.ON,
            )
            told = self._take(plan, measured) if plan is not None and measured is not None else 0.0
            if plan is not None and plan.rows:
                self._budget.charge(tokens, told and told + getattr(scheduler_output, CHOOSING), seconds)
            if prefilled := getattr(scheduler_output, PREFILLED, None):
                self._control.prompts_computed(prefilled)

    def _take(self, plan: StepPlan, measured: Measured) -> float:
        """Count what a step measured. Returns what measuring took, in seconds; 0 where the worker doesn't
        tell."""
        began = time.perf_counter()
        self._control.measured(plan, measured)
        return measured.seconds and measured.seconds + time.perf_counter() - began

    def record_hits(self, request: Any, num_hits: int) -> None:
        """Stand in for KVCacheManager.record_prefix_cache_stats, which vLLM calls once for each admission."""
        if num_hits:
            self._guarded("counting what was cached", self._hit, request, num_hits)
        self._record_hits(request, num_hits)

    def _hit(self, request: Any, num_hits: int) -> None:
        reused = self._blocks.reused_tokens(request, num_hits)
        with self._control.ledger() as ledger:
            ledger.reuse_hits += reused
            ledger.baseline_hits += num_hits - reused

    def _leave(self, behaviour: Behaviour) -> int:
        """Recompute what reuse touched where it ended, if its flags said so. Returns how many requests."""
        last, self._last = self._last, behaviour
        if last.mode is not Mode.ON or behaviour.mode is Mode.ON or last.in_flight is not InFlight.RECOMPUTE:
            return 0
        clean = recompute(self._scheduler, self._reused)
        self._reused -= clean
        return len(clean)

    def _finish(self, ledger: Ledger, output: Any) -> None:
        """Count the requests that ended since the last step."""
        for name in output.finished_req_ids:
            request = self._live.pop(name, None)
            ledger.finish(name, computed_tokens=0 if request is None else request.num_computed_tokens)
        self._reused.difference_update(output.finished_req_ids)

    def _admit(self, ledger: Ledger, output: Any, behaviour: Behaviour) -> None:
        """Count the requests that are new in a step."""
        for new in output.scheduled_new_reqs:
            request = self._live[new.req_id] = self._scheduler.requests[new.req_id]
            ledger.admit(
                new.req_id,
                prompt_tokens=request.num_prompt_tokens,
                reuse=behaviour.mode is Mode.ON,
                probe=self.probes.name(request) is not None,
                opted_out=self.probes.out(request),
                beyond_reach=self.reach.beyond(request),
                decodes=request.max_tokens > 1,
                cached_tokens=request.num_computed_tokens - output.num_scheduled_tokens[new.req_id],
            )

    def _shares(self, output: Any, behaviour: Behaviour) -> bool:
        """Return whether sites of this step may reuse, or are compared with those that they would follow."""
        if behaviour.mode is Mode.OFF or SHARED not in behaviour.pattern:
            return False
        if not behaviour.min_context_tokens:
            return True
        ends = (
            self._scheduler.requests[r].num_computed_tokens for r in output.num_scheduled_tokens
        )  # advanced by this step already
        return max(ends, default=0) >= behaviour.min_context_tokens

    def _apart(self, ledger: Ledger, output: Any, behaviour: Behaviour) -> bool:
        """Return whether a step in shadow runs under reuse: it holds nothing but probes that ask for it."""
        tokens = output.num_scheduled_tokens
        return ledger.all_probes(tokens) and self.probes.apart(self._scheduler.requests, tokens, behaviour)

    def _count(
        self, ledger: Ledger, output: Any, behaviour: Behaviour, *, all_full: bool, apart: bool
    ) -> None:
        on = behaviour.mode is Mode.ON
        if on:
            for request in output.num_scheduled_tokens.keys() - self._reused:
                if ledger.touch(request):
                    self._reused.add(request)
        if ledger.any_probe(output.num_scheduled_tokens):
            self.probes.count(
                ledger.probe_log,
                self._scheduler.requests,
                output.num_scheduled_tokens,
                behaviour.min_context_tokens,
                reused=apart or (on and not all_full),
            )
        if output.total_num_scheduled_tokens:
            if apart:
                ledger.reuse_apart += 1
            elif not on:
                ledger.full += 1
            elif all_full:
                ledger.reuse_all_full += 1
            else:
                ledger.reuse += 1

    def _plan(
        self, output: Any, behaviour: Behaviour, *, reusable: bool, apart: bool, beyond: Set[str]
    ) -> StepPlan | None:
        """Return what the workers do in a step. `beyond`: of a step of mode on that runs all Full, whose rows
        alone it may measure, as in shadow."""
        if apart:
            return StepPlan(
                Mode.ON, behaviour.pattern, behaviour.series, apart=True, indexer=behaviour.indexer
            )
        tokens, reuses = output.total_num_scheduled_tokens, reusable and behaviour.mode is Mode.ON
        timed = self._timed_prefills.includes(tokens)
        replayed = tokens <= self._control.replayed_tokens and not beyond
        rows: tuple[Row, ...] = ()
        if (
            (reusable or beyond)
            and behaviour.sample_rows
            and not timed
            and self._budget.allows(tokens, len(output.num_scheduled_tokens), reuses=reuses)
        ):
            most = min(behaviour.sample_rows, REPLAYED_ROWS) if replayed else behaviour.sample_rows
            began = time.perf_counter()
            rows = choose(self._users(output, beyond), self._control.k, most, self._rng)
            if rows:
                self._budget.begin(tokens)
                setattr(output, CHOOSING, time.perf_counter() - began)
        if reuses:
            reused = behaviour.pattern, behaviour.series, rows, self._draw(rows), timed, replayed
            return StepPlan(Mode.ON, *reused, indexer=behaviour.indexer)
        if rows:
            shadow = behaviour.pattern, behaviour.series, rows, self._draw(rows)
            return StepPlan(Mode.SHADOW, *shadow, replayed=replayed)
        return StepPlan(Mode.OFF, timed=True) if timed else None

    def _draw(self, rows: tuple[Row, ...]) -> int:
        return self._rng.getrandbits(32) if rows else 0

    def _users(self, output: Any, beyond: Set[str]) -> list[Scheduled]:
        """Return what a step computes for requests that are no probes; for those of `beyond` alone, if there
        are any."""
        with self._control.ledger() as ledger:
            users = [
                (r, n)
                for r, n in output.num_scheduled_tokens.items()
                if (r in beyond if beyond else not ledger.is_probe(r))
            ]
        requests = {r: self._scheduler.requests[r] for r, _ in users}
        return [
            Scheduled(r, (end := requests[r].num_computed_tokens) - n, end, requests[r].num_prompt_tokens)
            for r, n in users
        ]

    def _prefilled(self, plan: StepPlan | None) -> tuple[str, ...]:
        """Return the requests measured in this step or before whose prompts are computed with it."""
        rows = plan.rows if plan is not None else ()
        measured = {row.request for row in rows if row.work is Work.PREFILL}
        return tuple(
            name
            for name in measured.union(self._control.prefilling)
            if (request := self._scheduler.requests.get(name)) is not None
            and request.num_computed_tokens >= request.num_prompt_tokens
        )

"""An engine core in small, with the real planner, names and control, under a reach that changes: it checks at
each step that nothing beyond the reach is in a step under reuse, that no block with a baseline's name holds
what reuse computed, and that whom reuse never reached has such names alone.

What ought to be is kept beside it by a model of its own: who is out, and how often that was counted.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from indexcache_core.contract import Desired, Flags, Mode, Site
from indexcache_core.probe_ids import Side, probe_request_id
from indexcache_runtime.access import Credentials
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.engine import Capabilities
from indexcache_runtime.vllm.carried import PLAN
from indexcache_runtime.vllm.engine_core.blocks import BlockNamer
from indexcache_runtime.vllm.engine_core.opted_out import opted_out
from indexcache_runtime.vllm.engine_core.probe_requests import ProbeRequests
from indexcache_runtime.vllm.engine_core.step_planner import StepPlanner

from tests.unit.runtime.vllm.engine_core.blocks_world import SIZE, baseline, cached_prefix, names

TOKEN = "token"
OPTED_OUT = SimpleNamespace(extra_args={"indexcache": "off"})
Kind = str
"""user, opted-out or probe"""


@dataclass(eq=False)
class Request:
    """Holds what of vLLM's Request the planner and the names depend on."""

    request_id: str
    tokens: list[int]
    num_prompt_tokens: int
    kind: Kind
    _block_hasher: Callable[[Any], list[bytes]]
    sampling_params: Any = None
    max_tokens: int = 16
    block_hashes: list[bytes] = field(default_factory=list)
    num_computed_tokens: int = 0
    under: list[bool] = field(default_factory=list)
    """Of each computed token: whether its KV owes to reuse."""
    named: int = 0
    """Blocks that have been entered into the cache."""
    was_scheduled: bool = False
    is_out: bool = False
    """What ought to be: reuse doesn't reach it."""
    is_touched: bool = False
    was_in: bool = False
    """Since its KV began, it was within the reach of a step in mode on when that was about to be
    scheduled."""

    def append(self, token: int) -> None:
        self.tokens.append(token)
        self.block_hashes.extend(self._block_hasher(self))


class World:
    """An engine core in small."""

    def __init__(self) -> None:
        self.requests: dict[str, Request] = {}
        self.running: list[Request] = []
        self.prev_step_scheduled_req_ids: set[str] = set()
        self.cache: dict[bytes, list[bool]] = {}
        self.kv_cache_manager: Any = SimpleNamespace(
            get_computed_blocks=self._find, record_prefix_cache_stats=lambda request, hits: None
        )
        sites = tuple(Site(index=i, layer=i, domain="tokens", k=1) for i in range(2))
        self.control = EngineControl(Capabilities("x", sites))
        self.epoch = self.made = 0
        self.mode = Mode.OFF
        self.reach: int | None = None
        self.beyond = self.left = 0
        """What ought to be counted."""
        credentials = Credentials(TOKEN)
        probes = ProbeRequests(credentials, 1)
        self.steps = StepPlanner(
            self.control,
            self,
            BlockNamer(
                self,
                SIZE,
                probes.out,
                None,
                probes.reusing,
                lambda request: self.steps.reach.beyond(request),
            ),
            credentials,
            seed=1,
        )
        core = SimpleNamespace(request_block_hasher=names)
        self.steps.install(core)
        self.hasher = core.request_block_hasher
        self._wanted: dict[str, int] = {}
        self._ended: set[str] = set()
        self._entered: list[tuple[Request, int, bytes]] = []

    def put(self, mode: Mode, reach: int | None) -> None:
        """Set flags under the next epoch."""
        self.epoch += 1
        flags = Flags.model_validate({"mode": mode, "pattern": "FS", "reach_tokens": reach, "sample_rows": 2})
        self.control.put(
            Desired(incarnation=self.control.incarnation, epoch=self.epoch, permit_seconds=600.0, flags=flags)
        )
        self.mode, self.reach = mode, reach

    def add(self, tokens: list[int], kind: Kind = "user") -> Request:
        """Add a new request."""
        self.made += 1
        name = f"r{self.made}"
        if kind == "probe":
            name = probe_request_id(TOKEN, name, Side.REUSE)
        params = OPTED_OUT if kind == "opted-out" else None
        request = Request(name, list(tokens), len(tokens), kind, self.hasher, params)
        request.block_hashes.extend(self.hasher(request))
        self.requests[name] = request
        return request

    def preempt(self, request: Request) -> None:
        request.num_computed_tokens, request.under, request.named, request.was_in = 0, [], 0, False

    def finish(self, request: Request) -> None:
        del self.requests[request.request_id]
        self._ended.add(request.request_id)

    def step(self, wanted: dict[str, int]) -> Any:
        """Run a step of so many tokens of each request, and check it. Returns the plan."""
        self._wanted = wanted
        self._model_begin()
        output = self.schedule()
        assert self.control.state().supported, self.control.state().message
        plan = getattr(output, PLAN, None)
        reuses = plan is not None and plan.mode is Mode.ON
        self._model_step(output, reuses=reuses)
        for name, n in output.num_scheduled_tokens.items():
            request = self.requests[name]
            for _ in range(n):
                request.under.append(reuses or bool(request.under and request.under[-1]))
        for request, i, name in self._entered:
            mine = request.under[i * SIZE : (i + 1) * SIZE]
            has_baselines_name = name == baseline(request.tokens)[i]
            if request.kind == "user" and not request.was_in:
                assert has_baselines_name, "reuse never reached it"
            if has_baselines_name:
                assert not any(mine), "a block with a baseline's name holds what reuse computed"
            self.cache[name] = [a or b for a, b in zip(mine, self.cache.get(name, mine), strict=True)]
        if plan is not None and plan.rows and self.mode is Mode.ON and not reuses:
            assert plan.mode is Mode.SHADOW
            assert not plan.replayed
            assert {row.request for row in plan.rows} <= {r for r in wanted if self.requests[r].is_out}
        counted = self.control.state().requests
        assert (counted.beyond_reach, counted.left_reach) == (self.beyond, self.left)
        return plan

    def schedule(self) -> Any:
        """Stand in for vLLM's: admit, schedule, and name the blocks that are full."""
        scheduled: dict[str, int] = {}
        new = []
        self._entered = []
        for name, most in self._wanted.items():
            request = self.requests[name]
            if request.num_computed_tokens == 0:
                found, hits, _ = self.kv_cache_manager.get_computed_blocks(request)
                request.under = [owes for block in found for owes in self.cache[block]]
                request.num_computed_tokens = hits
                request.was_in = self.mode is Mode.ON and not request.is_out and not self._exceeds(request)
                if not request.was_scheduled:
                    new.append(SimpleNamespace(req_id=name))
            n = min(most, len(request.tokens) - request.num_computed_tokens)
            if n == 0:
                n = 1  # past what is known, as vLLM's asynchronous scheduling goes
            elif n < 0:
                continue
            scheduled[name] = n
            request.num_computed_tokens += n
            full = min(request.num_computed_tokens, len(request.tokens)) // SIZE
            for i in range(request.named, full):
                self._entered.append((request, i, request.block_hashes[i]))
            request.named = max(request.named, full)
        ended, self._ended = self._ended, set()
        return SimpleNamespace(
            total_num_scheduled_tokens=sum(scheduled.values()),
            num_scheduled_tokens=scheduled,
            scheduled_new_reqs=[n for n in new if n.req_id in scheduled],
            finished_req_ids=ended,
        )

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> None: ...

    def _find(self, request: Request) -> tuple[list[bytes], int, int]:
        return cached_prefix(self.cache, request)

    def _exceeds(self, request: Request) -> bool:
        longest = max(request.num_prompt_tokens, request.num_computed_tokens)
        return request.kind == "user" and self.reach is not None and longest > self.reach

    def _model_begin(self) -> None:
        """Put out who is in flight and longer than the flags in force reach."""
        if self.mode is Mode.ON:
            for request in self.requests.values():
                if request.num_computed_tokens and not request.is_out and self._exceeds(request):
                    request.is_out = True
                    self.left += request.is_touched
                request.was_in |= bool(request.num_computed_tokens) and not request.is_out

    def _model_step(self, output: Any, *, reuses: bool) -> None:
        """Put out who is beyond the reach with this step, and check what it was."""
        on, scheduled = self.mode is Mode.ON, [self.requests[name] for name in output.num_scheduled_tokens]
        for request in scheduled:
            if on and not request.is_out and self._exceeds(request):
                request.is_out = True
                self.beyond += not request.was_scheduled
                self.left += request.is_touched
            request.was_scheduled = True
        held = any(request.is_out or opted_out(request) for request in scheduled)
        apart = self.mode is Mode.SHADOW and all(request.kind == "probe" for request in scheduled)
        assert reuses == (bool(scheduled) and (apart or (on and not held)))
        if on:
            for request in scheduled:
                request.is_touched |= request.kind == "user" and not request.is_out

"""An engine core in small, for tests of its steps."""

from types import SimpleNamespace
from typing import Any

from indexcache_core.contract import Desired, Flags, Indexer, Mode, Site
from indexcache_runtime.access import Credentials
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.engine import Capabilities
from indexcache_runtime.vllm.engine_core.step_planner import StepPlanner

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
        self.renamed: list[str] = []
        self.output: Any = None
        sites = tuple(Site(index=i, layer=i, domain="tokens", k=K) for i in range(4))
        capabilities = Capabilities(
            "x", sites, timed=timed, replayed_tokens=replayed, indexers=tuple(Indexer)
        )
        self.control = EngineControl(capabilities, engine_version="0.33.0", runtime_version="1")
        self.epoch = 0
        self.put(mode, **flags)
        blocks = blocks or SimpleNamespace(
            lookup="lookup",
            enter=self._enter,
            rename=self._rename,
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

    def _enter(self, taint: str | None, probes: str | None = None) -> int:
        self.tainted.append(taint)
        self.probes = probes
        return 2

    def _rename(self, request: Any) -> bool:
        self.renamed.append(request.request_id)
        return True

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
                "max_tokens": 16,
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

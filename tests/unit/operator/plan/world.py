"""A small world for plans: what there is (world_cluster.py), proxies that follow its route, users, crashes.

Time passes in looks. Users' requests go where the proxies send them, at once; each request under shadow or
reuse is one observation a Shared indexer. What must never happen is recorded where it would happen.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from indexcache_core.contract import Mode
from indexcache_core.pattern import shared_sites
from indexcache_operator import model
from indexcache_operator.api.status import Phase
from indexcache_operator.model import Plan, Probe, ProbeResult, Uncounted
from indexcache_operator.plan import plan
from indexcache_operator.plan.facts.memory import Life, Memory
from indexcache_operator.plan.phases.table import followers
from indexcache_runtime.control.switch import CallRefused

from tests.unit.operator.plan.world_cluster import Cluster
from tests.unit.operator.plan.world_parts import CONTEXT, SimPod


class Crash(Exception):
    """The operator is gone."""


@dataclass
class World(Cluster):
    """Holds everything that is there but the operator, and lets it happen."""

    recall: Callable[[World, Mode], float] = lambda world, mode: 0.9
    quality: Callable[[World, Probe], float | Uncounted | None] = lambda world, probe: 0.0
    """What a probe loses under reuse, in nats; None where it fails there; or why the pair doesn't count."""
    idle: bool = True
    """Pods have so little to do that a probe in shadow has its steps to itself."""
    pair_seconds: float = 0.05
    lengths: dict[int, float] = field(default_factory=lambda: {CONTEXT: 1.0})
    """How many of the requests are of each bucket of context length."""
    ruined: frozenset[int] = frozenset()
    """Buckets in which what is reused is no good, whatever `recall` says."""
    reached: set[int] = field(default_factory=set)
    """Buckets of which a request was served under reuse."""
    rate: int = 20
    """Users' requests a look."""
    seed: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.random = random.Random(self.seed)
        self.proxies: tuple[dict[str, Any], ...] = self.backends
        self.endpoints: dict[str, frozenset[str]] = {}
        """Pods by Service, as the proxies have them."""
        self.cut_off = False
        self.memory: Memory | None = None
        self.asked: list[model.RunProbes] = []
        self.crash_at: int | None = None
        self.done: list[model.Action] = []
        self.failed_requests = 0
        self.strays = 0
        """Requests that came through the baseline's Service in a canary, and met reuse."""
        self.released = self.deleted = self.gone = False
        self.phases: list[Phase] = []
        self.other = 0
        self.exposed = False

    def users(self) -> None:
        """Send one look's worth of requests, by the weights and the endpoints that the proxies have."""
        serving = [b for b in self.proxies if b["weight"] > 0]
        if not self.pods:
            return
        for _ in range(self.rate):
            service = self.random.choices(serving, [b["weight"] for b in serving])[0]["name"]
            if service == "other":
                self.other += 1
                continue
            label = "canary" if service.endswith("-canary") else "baseline"
            behind = [
                p
                for p in self.pods.values()
                if p.ready and not p.deleting and p.name in self.endpoints.get(label, ())
            ]
            if not behind:
                self.failed_requests += 1
                continue
            self.serve(self.random.choice(behind), label)

    def serve(self, pod: SimPod, label: str) -> None:
        if pod.busy:
            pod.waiting.append(label)
            return
        pod.switch.advance(self.now.timestamp())
        context = self.random.choices(list(self.lengths), list(self.lengths.values()))[0]
        pod.count(context)
        mode = pod.switch.mode
        if pod.serves_under_reuse(context):
            self.reached.add(context)
            pod.admitted_reuse += 1
            self.strays += label == "baseline" and self.status.phase is Phase.CANARY
        else:
            pod.admitted_baseline += 1
        if pod.measures and mode in (Mode.ON, Mode.SHADOW) and pod.switch.pattern:
            pod.measure(
                lambda bucket: bad(self, mode) if bucket in self.ruined else self.recall(self, mode),
                context,
                shared_sites(pod.switch.pattern),
            )

    def end_prefill(self, pod: SimPod) -> None:
        """End a long prefill: what waited is scheduled in the very step in which it counts as finished."""
        pod.busy, waiting, pod.waiting = False, pod.waiting, []
        for label in waiting:
            self.serve(pod, label)

    def act(self, action: model.Action, wanted: Plan[Memory]) -> None:
        if self.crash_at is not None:
            if self.crash_at == 0:
                self.crash_at = None
                raise Crash
            self.crash_at -= 1
        self.done.append(action)
        pod = self.pods.get(getattr(action, "pod", ""))
        match action:
            case model.Kill():
                if pod and pod.reachable and pod.ready:
                    pod.switch.kill(action.reason)
            case model.PersistStatus():
                self.write(wanted.status)
            case model.EnsureWorkload():
                self.deploy()
            case model.SetLabels():
                if pod:
                    pod.baseline, pod.canary = action.baseline, action.canary
            case model.PutFlags():
                if pod and pod.reachable:
                    pod.switch.put(action.desired, self.now.timestamp())
            case model.PatchRoute():
                assert action.resource_version == str(self.route_generation)
                self.set_route(action.backends)
            case model.RunProbes():
                self.probe(action)
            case model.DeleteWorkload():
                self.deleted, self.pods = True, {}
            case model.ReleaseWorkload():
                self.released = True
            case model.RemoveFinalizer():
                self.gone = True

    def probe(self, run: model.RunProbes) -> None:
        """Ask a pair; what became of it is seen in the next look."""
        switch, found = self.pods[run.pod].switch, self.quality(self, run.probe)
        self.asked.append(run)
        if switch.mode is Mode.SHADOW and not self.idle:
            found = Uncounted.NOT_ALL_REUSED
        if switch.mode not in (Mode.SHADOW, Mode.ON):
            found = Uncounted.FLIPPED
        self.probe_results += (
            ProbeResult(
                revision=run.revision,
                number=run.number,
                pod=run.pod,
                incarnation=switch.incarnation,
                mode=switch.mode,
                context_tokens=run.probe.context_tokens,
                full_logprob=-1.0,
                reuse_logprob=-1.0 - found if isinstance(found, float) else None,
                uncounted=found if isinstance(found, Uncounted) else None,
                seconds=self.pair_seconds,
            ),
        )

    def snapshot(self, check: Callable[[World], None] | None = None) -> None:
        """Let the operator look and act, then time pass and users come."""
        observation = self.observe()
        try:
            wanted = plan(observation, self.memory)
            assert wanted.status.phase in followers(observation.status.phase)
            for action in wanted.actions:
                try:
                    self.act(action, wanted)
                except CallRefused:
                    break
            else:
                if not self.gone:
                    self.write(wanted.status)
            self.memory = wanted.memory
        except Crash:
            self.memory = None
        if not self.phases or self.phases[-1] is not self.status.phase:
            self.phases.append(self.status.phase)
        self.pass_time(check)

    def pass_time(self, check: Callable[[World], None] | None = None) -> None:
        self.now += timedelta(seconds=0.5)
        if not self.cut_off:
            self.proxies = self.backends
            self.endpoints = {
                label: frozenset(
                    p.name for p in self.pods.values() if p.ready and not p.deleting and getattr(p, label)
                )
                for label in ("baseline", "canary")
            }
        self.users()
        if check:
            check(self)

    def until(self, *phases: Phase, looks: int = 400, check: Callable[[World], None] | None = None) -> World:
        """Look until one of these phases is in the stored status."""
        for _ in range(looks):
            self.snapshot(check)
            if self.status.phase in phases:
                return self
        raise AssertionError(
            f"after {looks} looks: {self.status.phase}: {self.status.message} {self.status.reason}; "
            f"{self.phases}"
        )

    def wait(self, condition: Callable[[World], bool], looks: int = 100) -> World:
        """Look until a condition holds."""
        for _ in range(looks):
            if condition(self):
                return self
            self.snapshot()
        raise AssertionError(
            f"after {looks} looks: {self.status.phase}: {self.status.message} {self.status.reason}; "
            f"{self.phases}"
        )

    @property
    def drained_pods(self) -> frozenset[Life]:
        return self.memory.drained_pods if self.memory else frozenset()


def good(world: World, mode: Mode) -> float:
    """Return what a harmless pattern measures."""
    return world.random.uniform(0.8, 1.0)


def bad(world: World, mode: Mode) -> float:
    """Return what a harmful pattern measures."""
    return world.random.uniform(0.0, 0.4)

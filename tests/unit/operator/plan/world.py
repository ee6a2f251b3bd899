"""A small world for plans: engines (world_parts.py), labels, a route with proxies that
follow it, users, and crashes.

Time passes in looks. Users' requests go where the proxies send them, at once; each request under shadow or
reuse is one observation a Shared indexer. What must never happen is recorded where it would happen.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from indexcache_core.contract import Mode, Requests, Series, Site, State
from indexcache_core.pattern import shared_sites
from indexcache_operator import model
from indexcache_operator.api import stored
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import Phase, Status
from indexcache_operator.model import (
    EnginePod,
    Observation,
    Plan,
    Probe,
    ProbeResult,
    ProbeSet,
    Route,
    Uncounted,
)
from indexcache_operator.plan import plan
from indexcache_operator.plan.facts.memory import Life, Memory
from indexcache_operator.plan.phases.table import followers
from indexcache_runtime.control.switch import CallRefused, Switch

from tests.unit.operator.plan.world_parts import BASELINE, CONTEXT, FOREIGN, NAME, RUNTIME, K, SimPod, spec


class Crash(Exception):
    """The operator is gone."""


@dataclass
class World:
    """Holds everything that is there but the operator."""

    spec: Spec | None = field(default_factory=spec)
    recall: Callable[[World, Mode], float] = lambda world, mode: 0.9
    quality: Callable[[World, Probe], float | Uncounted | None] = lambda world, probe: 0.0
    """What a probe loses under reuse, in nats; None where it fails there; or why the pair doesn't count."""
    idle: bool = True
    """Pods have so little to do that a probe in shadow has its steps to itself."""
    pair_seconds: float = 0.05
    lengths: dict[int, float] = field(default_factory=lambda: {CONTEXT: 1.0})
    """How many of the requests are of each bucket of context length."""
    work: tuple[float, ...] = tuple(4.0**bucket for bucket in range(9))
    """What an indexer scores for a request, by bucket."""
    ruined: frozenset[int] = frozenset()
    """Buckets in which what is reused is no good, whatever `recall` says."""
    reached: set[int] = field(default_factory=set)
    """Buckets of which a request was served under reuse."""
    rate: int = 20
    """Users' requests a look."""
    seed: int = 1
    checkpoint: str = ""
    """What new engines load."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.status = Status()
        self.uid = "uid"
        self.term = 0
        """Of whoever looks."""
        self.generation = 1
        self.annotations: dict[str, str] = {}
        self.deleting = False
        self.workload_for = ""
        self.pods: dict[str, SimPod] = {}
        self.born = 0
        self.backends: tuple[dict[str, Any], ...] = (dict(FOREIGN), dict(BASELINE))
        self.original = self.backends
        self.route_generation = 1
        self.proxies: tuple[dict[str, Any], ...] = self.backends
        self.endpoints: dict[str, frozenset[str]] = {}
        """Pods by Service, as the proxies have them."""
        self.cut_off = False
        self.memory: Memory | None = None
        self.probe_results: tuple[ProbeResult, ...] = ()
        self.probes: ProbeSet | None = None
        self.asked: list[model.RunProbes] = []
        self.crash_at: int | None = None
        self.done: list[model.Action] = []
        self.failed_requests = 0
        self.strays = 0
        """Requests that came through the baseline's Service in a canary, and met reuse."""
        self.writes = 0
        self.released = self.deleted = self.gone = False
        self.phases: list[Phase] = []
        self.other = 0
        self.exposed = False

    # ---------------------------------------------------------------- what is there

    def add_pod(self) -> SimPod:
        self.born += 1
        pod = SimPod(
            name=f"pod-{self.born}",
            switch=Switch(incarnation=f"life-{self.born}", domains=("d",) * 4),
            checkpoint=self.checkpoint,
        )
        self.pods[pod.name] = pod
        return pod

    def state(self, pod: SimPod) -> State:
        series = tuple(
            Series.model_validate(
                {"site": site, "context": bucket, "work": work, "mode": mode, "overlap": h, "recall": h}
            )
            for (site, bucket, work, mode), h in pod.series.items()
            if pod.switch.series_number == pod.counted
        )
        requests = Requests(
            admitted_baseline=pod.admitted_baseline,
            admitted_reuse=pod.admitted_reuse,
            running_baseline=int(pod.busy),
            recent=tuple(pod.recent),
            recent_decoding=tuple(pod.recent),
            recent_work=tuple(n * self.work[i] for i, n in enumerate(pod.recent)),
        )
        sites = tuple(Site(index=i, layer=i, domain="d", k=K) for i in range(4))
        return pod.switch.state(self.now.timestamp()).model_copy(
            update={
                "sites": sites,
                "observed": series,
                "requests": requests,
                "checkpoint": pod.checkpoint,
                "probe_runs": (),
            }
        )

    def observe(self) -> Observation:
        results, self.probe_results = self.probe_results, ()
        return Observation(
            now=self.now,
            uptime=self.now.timestamp(),
            name=NAME,
            namespace="ns",
            uid=self.uid,
            generation=self.generation,
            annotations=dict(self.annotations),
            deleting=self.deleting,
            spec=self.spec,
            spec_problem=None if self.spec else "unreadable",
            status=self.status,
            term=self.term,
            pinned_runtime=RUNTIME,
            offered_runtime=RUNTIME,
            workload_current=self.spec is not None and self.workload_for == self._template(),
            pods=tuple(
                EnginePod(
                    name=p.name,
                    ip="10.0.0.1",
                    ready=p.ready,
                    deleting=p.deleting,
                    baseline_label=p.baseline,
                    canary_label=p.canary,
                    state=self.state(p) if p.reachable and p.ready else None,
                    error=None if p.reachable else "timeout",
                )
                for p in self.pods.values()
            ),
            route=Route(
                found=True,
                rule_index=0,
                backends=self.backends,
                generation=self.route_generation,
                resource_version=str(self.route_generation),
                accepted_generation=self.route_generation,
            ),
            probes=self.probes,
            probe_results=results,
        )

    def _template(self) -> str:
        assert self.spec is not None
        return self.spec.engine.model_dump_json()

    # ---------------------------------------------------------------- what happens

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
        if mode in (Mode.ON, Mode.SHADOW) and pod.switch.pattern:
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

    def write(self, status: Status) -> None:
        if status != self.status:
            self.writes += 1
            self.status = stored.read(stored.dump(status))

    def deploy(self) -> None:
        assert self.spec is not None
        if self.workload_for and _image(self.workload_for) != self.spec.engine.image:
            self.pods = {}
        self.workload_for = self._template()
        while len(self.pods) < self.spec.engine.replicas:
            self.add_pod()

    def set_route(self, backends: tuple[dict[str, Any], ...]) -> None:
        self.backends, self.route_generation = backends, self.route_generation + 1

    def lose(self, name: str) -> None:
        """Remove a pod; its Deployment makes another."""
        del self.pods[name]
        self.add_pod()

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

    @property
    def reuse_admitted(self) -> int:
        return sum(p.admitted_reuse for p in self.pods.values())

    def modes(self) -> set[Mode]:
        for p in self.pods.values():
            p.switch.advance(self.now.timestamp())
        return {p.switch.mode for p in self.pods.values()}


def _image(template: str) -> str:
    return template.split('"image":"')[1].split('"')[0]


def good(world: World, mode: Mode) -> float:
    """Return what a harmless pattern measures."""
    return world.random.uniform(0.8, 1.0)


def bad(world: World, mode: Mode) -> float:
    """Return what a harmful pattern measures."""
    return world.random.uniform(0.0, 0.4)

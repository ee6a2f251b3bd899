"""Holds what there is in the small world (world.py): a spec, a status, engines (world_parts.py), labels and a
route; and says what an operator sees of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from indexcache_core.contract import Mode, Requests, Series, Site, State, Steps
from indexcache_operator.api import stored
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import Status
from indexcache_operator.model import EnginePod, Observation, ProbeResult, ProbeSet, Route
from indexcache_runtime.control.switch import Switch

from tests.unit.operator.plan.world_parts import BASELINE, FOREIGN, NAME, RUNTIME, K, SimPod, spec


@dataclass
class Cluster:
    """Holds what an operator sees, and what its writes change."""

    spec: Spec | None = field(default_factory=spec)
    work: tuple[float, ...] = tuple(4.0**bucket for bucket in range(9))
    """What an indexer scores for a request, by bucket."""
    checkpoint: str = ""
    """What new engines load."""
    newborn_measure: bool = True
    """Whether new engines measure what they serve."""

    def __post_init__(self) -> None:
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
        self.probe_results: tuple[ProbeResult, ...] = ()
        self.probes: ProbeSet | None = None
        self.writes = 0

    def add_pod(self) -> SimPod:
        self.born += 1
        pod = SimPod(
            name=f"pod-{self.born}",
            switch=Switch(incarnation=f"life-{self.born}", domains=("d",) * 4),
            checkpoint=self.checkpoint,
            measures=self.newborn_measure,
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
            contexts=tuple(pod.contexts),
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
                "steps": Steps(reuse=pod.admitted_reuse),
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
                    silent=not p.reachable,
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

    @property
    def reuse_admitted(self) -> int:
        return sum(p.admitted_reuse for p in self.pods.values())

    def modes(self) -> set[Mode]:
        for p in self.pods.values():
            p.switch.advance(self.now.timestamp())
        return {p.switch.mode for p in self.pods.values()}


def _image(template: str) -> str:
    return template.split('"image":"')[1].split('"')[0]

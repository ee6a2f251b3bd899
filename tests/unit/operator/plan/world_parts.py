"""Parts of the small world: a spec, pods with the runtime's real switch, backends, probes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from indexcache_core.contexts import JUDGED_FROM, context_end
from indexcache_core.contract import Mode, Work
from indexcache_core.histogram import Histogram, of
from indexcache_operator.api.spec import Spec
from indexcache_operator.model import Probe, ProbeSet
from indexcache_runtime.control.switch import Switch

K, CONTEXT = 16, 3
"""Tokens chosen; the bucket of context length of all traffic, unless a test says otherwise."""
NAME = "chat"
RUNTIME = "indexcache-runtime:0.1.0"
FOREIGN = {"group": "", "kind": "Service", "name": "other", "port": 80, "weight": 1}
BASELINE = {
    "group": "",
    "kind": "Service",
    "name": f"{NAME}-baseline",
    "port": 80,
    "weight": 2,
    "filters": [
        {
            "type": "RequestHeaderModifier",
            "requestHeaderModifier": {"set": [{"name": "x-served-by", "value": "chat"}]},
        }
    ],
}


@dataclass
class SimPod:
    """A pod and its engine."""

    name: str
    switch: Switch
    ready: bool = True
    reachable: bool = True
    checkpoint: str = ""
    measures: bool = True
    deleting: bool = False
    busy: bool = False
    """With one long prefill: what comes waits, and no counter moves."""
    waiting: list[str] = field(default_factory=list)
    """The Services that it came through."""
    baseline: bool = True
    canary: bool = False
    admitted_baseline: int = 0
    admitted_reuse: int = 0
    contexts: list[int] = field(default_factory=lambda: [0] * 9)
    """Requests of this life, by bucket of context length."""
    recent: list[int] = field(default_factory=lambda: [0] * 9)
    """Requests since the series began, by bucket of context length."""
    series: dict[tuple[int | None, int, Work, Mode], Histogram] = field(default_factory=dict)
    counted: int = 0

    def count(self, context: int) -> None:
        """Count a request of a bucket, for the series that is measured too."""
        self.contexts[context] += 1
        if self.switch.series_number != self.counted:
            self.series, self.recent, self.counted = {}, [0] * 9, self.switch.series_number
        self.recent[context] += 1

    def serves_under_reuse(self, context: int) -> bool:
        """Return whether a request of a bucket is served under reuse."""
        reach = self.switch.flags.reach_tokens
        within = reach is None or (context_end(context, K) or reach + 1) <= reach
        return self.switch.mode is Mode.ON and within

    def measure(self, recall: Callable[[int], float], context: int, sites: tuple[int, ...]) -> None:
        """Measure a request: its prefill in each judged bucket up to its own, its decode in that alone."""
        mode = Mode.ON if self.serves_under_reuse(context) else Mode.SHADOW
        for bucket in range(JUDGED_FROM, context + 1):
            for work in Work if bucket == context else (Work.PREFILL,):
                value = of([recall(bucket)])
                for site in (None, *sites):
                    key = (site, bucket, work, mode)
                    self.series[key] = self.series.get(key, Histogram()).plus(value)


SPEC: dict[str, Any] = {
    "engine": {"image": "engine:1", "model": "/model", "replicas": 3},
    "indexCache": {"pattern": "FSFS", "minContextTokens": 0},
    "strategy": {
        "shadow": {"minRequests": 20, "timeout": "60s"},
        "steps": [{"weight": 20}, {"weight": 50}],
        "progressDeadline": "120s",
    },
    "traffic": {"httpRoute": {"name": "users", "rule": "generate"}},
    "guardrails": {"recall": {"min": 0.5}},
    "fallback": {"permit": {"canary": "5s", "promoted": "60s"}},
}
"""One whose evidence comes quickly."""


def spec(**changes: Any) -> Spec:
    """Return a spec whose evidence comes quickly."""
    return Spec.model_validate({**SPEC, **changes})


def probe_set() -> ProbeSet:
    """Return probes as long as the traffic's contexts."""
    return ProbeSet(
        probes=tuple(Probe(prompt=f"p{i}", continuation="c", context_tokens=100) for i in range(3))
    )

"""Common to tests of Checking: engines, probes and specs that are all right."""

from typing import Any

from indexcache_operator.api.status import Rejected

from tests.unit.operator.plan.build import REVISION, at, pod

PROBES = {"quality": {"probes": {"configMap": "p"}}}
QUALITY = {"guardrails": {"recall": {"min": 0.5}, **PROBES}}
DSA: dict[str, Any] = {"architectures": ["DeepseekV32ForCausalLM"], "num_hidden_layers": 4, "index_topk": 16}
REJECTED = Rejected(revision=REVISION, reason="Killed", at=at(-9))
THREE = (pod("a"), pod("b"), pod("c"))

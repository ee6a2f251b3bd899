"""Common to tests of what is wanted: one pod's life, what is remembered of it, and where it stands."""

from typing import Any

from indexcache_operator.plan.facts.memory import Memory

from tests.unit.operator.plan.build import spec

NOTHING = Memory(key="try")
UNROUTED: dict[str, Any] = {"spec": spec(traffic={}), "route": None}
LIFE = ("a", "life")
DRAINED = Memory(key="try", drained_pods=frozenset({LIFE}))

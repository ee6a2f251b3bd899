"""Tests what is published of a situation."""

from typing import Any

from indexcache_operator.api.status import (
    Status,
    StepStatus,
)
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.report import publishing

from tests.unit.operator.plan.build import (
    at,
)

STEP = StepStatus(index=0, weight=20, started_at=at(-9), reached_at=at(-8))
SHOWN = (("recall", "Certified"),)


def memory(published: float | None = -1, verdicts: Any = SHOWN, **changes: Any) -> Memory:
    when = None if published is None else at(published)
    return Memory(key="try", published_at=when, published=verdicts, requests_seen=44, **changes)


def publish(c: Situation, before: Status | None = None, measured: bool = True) -> tuple[Status, Memory]:
    return publishing.publish(c, before or c.snapshot.observation.status, measured)

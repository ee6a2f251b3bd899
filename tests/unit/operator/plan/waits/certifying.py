"""Builds situations in which certificates are wanted."""

from collections.abc import Sequence
from typing import Any

from indexcache_core.contract import Work
from indexcache_core.evidence.verdict import Judgement, Verdict, worst
from indexcache_core.histogram import of
from indexcache_operator.api.status import Phase, StepStatus, WaitStatus
from indexcache_operator.plan.facts.memory import Memory, TestKey
from indexcache_operator.plan.facts.reach import Reaches
from indexcache_operator.plan.facts.situation import Evidence, Situation
from indexcache_operator.plan.waits import certificates

from tests.unit.operator.plan.build import (
    answer,
    at,
    pace,
    pod,
    situation,
    status,
)

HOLDING = Verdict.HOLDING
SOME, NEVER = of([0.9] * 4), of([0.4] * 90)
STEP = StepStatus(index=0, weight=20, started_at=at(-60), reached_at=at(-30))


def case(
    *found: Judgement, step: StepStatus | None = STEP, buckets: Sequence[int] = (3, 4), **changes: Any
) -> Situation:
    """Return a situation in which these certificates are wanted, each of a bucket of context length."""
    tests = {
        TestKey("recall", None, bucket, Work.PREFILL): j for bucket, j in zip(buckets, found, strict=False)
    }
    verdict = worst([j.verdict for j in found]) if found else Verdict.NO_DATA
    phase = Phase.CANARY if step else Phase.SHADOWING
    judged = changes.pop("judged", 0.0)
    said = Evidence(
        answers=(answer("recall", verdict, tests),),
        judged=judged,
        wanted=frozenset((bucket, Work.PREFILL) for bucket in buckets),
        reaches=changes.pop("reaches", Reaches()),
    )
    memory = Memory(key="try", **{"pace": pace(120, observations=4.0), **changes})
    return situation(pod(), status=status(phase, step=step), evidence=said, memory=memory)


def wait(c: Situation) -> WaitStatus:
    found = certificates.waiting(c)
    assert found is not None
    return found

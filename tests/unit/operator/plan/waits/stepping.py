"""Builds the wait of a canary's step, in which all is well but for what a test says."""

from dataclasses import replace
from typing import Any

from indexcache_core.contract import Work
from indexcache_core.evidence.freshness import OWN
from indexcache_core.evidence.verdict import Verdict
from indexcache_core.histogram import Histogram
from indexcache_operator.api.status import StepStatus, TrafficStatus, WaitStatus
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts.memory import Memory, TestKey
from indexcache_operator.plan.facts.situation import Evidence, Seen
from indexcache_operator.plan.waits import step as steps
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT

from tests.unit.operator.plan.build import (
    KEPT,
    LEAST,
    MOVED,
    REACHED,
    WANTED,
    WITH_CANARY,
    answer,
    at,
    judgement,
    measured,
    pace,
    pod,
    reaches,
    situation,
    status,
    told,
)

STEP = StepStatus(index=0, weight=20, started_at=at(-60), reached_at=at(-30))
UNREACHED = replace(STEP, reached_at=None)


def wait(
    *pods: EnginePod,
    step: StepStatus = STEP,
    traffic: TrafficStatus | None = None,
    drained: bool = True,
    came: int = 3,
    seen: Seen | None = None,
    verdict: Verdict = Verdict.CERTIFIED,
    own: int = OWN,
    histogram: Histogram | None = None,
    **changes: Any,
) -> WaitStatus | None:
    pods = pods or (pod("a", **MOVED), pod("b"), pod("c"))
    kept = status(canary_pods=("a",), route=KEPT, step=step, traffic=traffic or TrafficStatus(desired=20))
    changes = {"route": WITH_CANARY, **changes}
    look = measured(told({"a": ON_CANARY_PERMIT}, *pods, status=kept, **changes), own).observation
    lives = frozenset({("a", "life")}) if drained else frozenset[tuple[str, str]]()
    memory = Memory(key="try", drained_pods=lives, pace=pace(came))
    tests = {TestKey("recall", None, 3, Work.PREFILL): judgement(verdict, histogram)}
    tokens = REACHED if verdict is Verdict.CERTIFIED else LEAST
    found = Evidence(
        answers=(answer("recall", verdict, tests),), wanted=WANTED, reaches=reaches(tokens, tokens)
    )
    c = situation(*look.pods, status=look.status, memory=memory, evidence=found, seen=seen, **changes)
    return steps.waiting(c)


NONE_YET = TrafficStatus(desired=0)

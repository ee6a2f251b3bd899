"""Common to tests of the planner: plans of looks, in short."""

from typing import Any

from indexcache_core.contract import Mode, Requests, State
from indexcache_operator.model import EnginePod, Plan
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.planner import plan

from tests.unit.operator.plan.build import engine, observation, pod


def planned(*pods: EnginePod, memory: Memory | None = None, **changes: Any) -> Plan[Memory]:
    return plan(observation(*pods, **changes), memory)


def kinds(found: Plan[Memory]) -> list[str]:
    return [type(a).__name__ for a in found.actions]


def persisted(**changes: Any) -> bool:
    """Return whether a look at a status that lacks what is wanted has it written first."""
    return "PersistStatus" in kinds(planned(pod("a"), **changes))


def counted(reuse: int, baseline: int, incarnation: str = "life") -> State:
    return engine(
        Mode.SHADOW,
        requests=Requests(admitted_reuse=reuse, admitted_baseline=baseline),
        incarnation=incarnation,
    )

"""Plans while engines may say anything: one of whose state no decision can be made counts as one that can't
be asked.

What an engine answers is checked against the contract, so a state like that is a fault of the planner's, or
of a number that nobody thought of. It must not take the way back from the engines beside it.
"""

from collections.abc import Callable
from dataclasses import replace

from indexcache_operator.model import EnginePod, Observation, Plan
from indexcache_operator.plan.facts.memory import Memory

Planner = Callable[[Observation, Memory | None], Plan[Memory]]
"""What decides: pure, of an observation and of what it remembered at the last."""


def plan_believing(
    planner: Planner, observation: Observation, memory: Memory | None
) -> tuple[Plan[Memory], dict[str, Exception]]:
    """Return a plan, and by pod why the state of its engine was left out of it; nothing is left out where all
    can be judged.

    Raises what the planner raises if that doesn't come from any engine.
    """
    try:
        return planner(observation, memory), {}
    except Exception as error:  # noqa: BLE001 (whatever it is, the other engines are judged without it)
        doubted = _doubted(planner, observation, memory, error)
        made = planner(_without(observation, doubted), memory)
        return made, doubted


def _doubted(
    planner: Planner, observation: Observation, memory: Memory | None, error: Exception
) -> dict[str, Exception]:
    """Find the engines whose states, each by itself, can't be judged; all of them if only together they
    can't.
    """
    asked = [pod.name for pod in observation.pods if pod.state is not None]
    found: dict[str, Exception] = {}
    for name in asked:
        try:
            planner(_without(observation, {other: error for other in asked if other != name}), memory)
        except Exception as own:  # noqa: BLE001 (whatever it is, it comes of this state)
            found[name] = own
    return found or dict.fromkeys(asked, error)


def _without(observation: Observation, doubted: dict[str, Exception]) -> Observation:
    return replace(observation, pods=tuple(_silenced(pod, doubted.get(pod.name)) for pod in observation.pods))


def _silenced(pod: EnginePod, error: Exception | None) -> EnginePod:
    if error is None:
        return pod
    why = f"its state can't be judged: {type(error).__name__}: {error}"
    return replace(pod, state=None, error=why[:256])

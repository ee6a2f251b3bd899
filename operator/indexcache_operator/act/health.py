"""The condition OperatorHealthy, written where a turn fails: then no plan speaks of the rollout, whose status
may be unreadable.

A plan that is carried out writes the condition anew (plan/report/conditions.py).
"""

from datetime import UTC, datetime

import aiohttp

from indexcache_operator import names
from indexcache_operator.api import times
from indexcache_operator.kube import Kube, KubeError
from indexcache_operator.objects import Object

MOST = 1024
"""Characters of a message."""


def told(error: BaseException, expected: tuple[type[BaseException], ...]) -> str:
    """Return why a turn failed, for people: who said what, and what becomes of it.

    `expected`: what the world does to a turn; anything else is a fault of the operator's own, whose details
    are in its log.
    """
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(told(each, expected) for each in error.exceptions))
    words = str(error).strip()
    if isinstance(error, KubeError):
        return f"the API server refused a request: {error.message} ({error.status} {error.reason})"
    if isinstance(error, TimeoutError):
        return f"no answer in time{f': {words}' if words else ''}"
    if isinstance(error, aiohttp.ClientError | OSError):
        return f"no connection{f': {words}' if words else ''}"
    if isinstance(error, expected):
        return words
    return f"a fault of the operator's own, its log has the details ({type(error).__name__}: {words})"


async def show(kube: Kube, namespace: str, name: str, message: str) -> bool:
    """Write that turns fail, and why; not where the status says nothing at all yet, and return whether.

    Raises KubeError, Conflict among them.
    """
    raw = await kube.get(names.rollouts_path(namespace, name))
    status: Object = raw.get("status") or {}
    found = status.get("conditions")
    others = (
        [c for c in found if not (isinstance(c, dict) and c.get("type") == names.OPERATOR_HEALTHY)]
        if isinstance(found, list)
        else []
    )
    shown = failing(message, raw["metadata"].get("generation", 0))
    if not status.get("phase"):
        return False
    await kube.replace(
        names.rollouts_path(namespace, name, "status"),
        {**raw, "status": {**status, "conditions": [*others, shown]}},
    )
    return True


def failing(message: str, generation: int) -> Object:
    """Return the condition."""
    return {
        "type": names.OPERATOR_HEALTHY,
        "status": "False",
        "reason": "TurnFailed",
        "message": f"looks at this rollout fail: {message}"[:MOST],
        "lastTransitionTime": times.stamp(datetime.now(UTC)),
        "observedGeneration": generation,
    }

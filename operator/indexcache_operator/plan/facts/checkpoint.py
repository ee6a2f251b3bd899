"""Tells which weights engines serve, as they say: under one name there may be others by tomorrow.

What was measured speaks of one checkpoint. An engine that doesn't say, as it can't tell or is an older one,
contradicts nobody.
"""

from indexcache_operator.api.status import Status
from indexcache_operator.plan.facts.snapshot import Snapshot


def said(snapshot: Snapshot) -> dict[str, str]:
    """Return one pod by each checkpoint that is served by pods of the present template."""
    return {
        pod.state.checkpoint: pod.name
        for pod in reversed(snapshot.pods)
        if pod.current and pod.state is not None and pod.state.checkpoint
    }


def sole(snapshot: Snapshot) -> str:
    """Return the checkpoint that all engines serve; empty where none says, or they differ."""
    found = said(snapshot)
    return next(iter(found)) if len(found) == 1 else ""


def differing(snapshot: Snapshot) -> str | None:
    """Return in words that engines serve different checkpoints; None where none contradicts another."""
    found = said(snapshot)
    if len(found) < 2:
        return None
    pods = ", ".join(f"{checkpoint} by pod {pod}" for checkpoint, pod in found.items())
    return f"found different checkpoints under spec.engine.model: {pods}; expected one; restart the others"


def replaced(snapshot: Snapshot, status: Status) -> str | None:
    """Return in words that an engine serves another checkpoint than the one that is tried."""
    others = {c: pod for c, pod in said(snapshot).items() if c != status.checkpoint}
    if not status.checkpoint or not others:
        return differing(snapshot)
    checkpoint, pod = next(iter(others.items()))
    return (
        f"pod {pod} serves checkpoint {checkpoint} under spec.engine.model, this try is about "
        f"{status.checkpoint}; it begins anew once all serve one"
    )

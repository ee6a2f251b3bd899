"""Tells which image brings the plugin into a rollout's engines. Pure.

It is pinned at the first deploy: another operator comes with another plugin, and must neither restart engines
nor put a plugin under a revision that was tried with another. It changes by spec.engine.runtime alone.
"""

from indexcache_operator import names
from indexcache_operator.model import Rollout
from indexcache_operator.objects import Object
from indexcache_operator.workload.render import Runtime


def pinned(rollout: Rollout, deployment: Object | None, offered: Runtime) -> Runtime:
    """Return where the plugin comes from for a spec that says nothing of it.

    A status that has none is an older operator's, or new: then what is deployed counts, else what is offered.

    Args:
        rollout: As it was read.
        deployment: Under the rollout's name, if there is one.
        offered: What the operator comes with.
    """
    found = _deployed(rollout.name, deployment) or offered
    return Runtime(image=rollout.status.runtime or found.image, pull_policy=found.pull_policy)


def wanted(rollout: Rollout, kept: Runtime) -> Runtime:
    """Return where the plugin comes from for this rollout's spec. `kept`: what is pinned."""
    asked = rollout.spec.engine.runtime if rollout.spec else None
    return Runtime(image=asked or kept.image, pull_policy=kept.pull_policy)


def _deployed(name: str, deployment: Object | None) -> Runtime | None:
    """Return what the rollout's own Deployment has; None where there is none."""
    if deployment is None or (deployment["metadata"].get("labels") or {}).get(names.ROLLOUT_LABEL) != name:
        return None
    containers = deployment["spec"]["template"]["spec"].get("initContainers") or []
    ours = next((c for c in containers if c["name"] == names.INIT_CONTAINER), None)
    if ours is None or not ours.get("image"):
        return None
    return Runtime(image=ours["image"], pull_policy=ours.get("imagePullPolicy") or Runtime.pull_policy)

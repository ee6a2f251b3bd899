"""The Secret that brings the control token to engines: only ever created, since the operator may do no more.

It belongs to the Deployment, so it vanishes with it. Whether it is there can't be read: creating it is tried,
and 409 says that it is.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from indexcache_operator import names
from indexcache_operator.credentials import Control
from indexcache_operator.kube import Conflict, Kube
from indexcache_operator.model import EnginePod
from indexcache_operator.objects import Object

AGAIN_SECONDS = 60.0
"""How soon it is tried once more while an engine may wait for it."""


def body(rollout: str, control: Control, deployment_uid: str) -> Object:
    """Return the Secret, as the rollout's Deployment of this uid owns it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": control.secret,
            "labels": {names.ROLLOUT_LABEL: rollout, "app.kubernetes.io/managed-by": names.FIELD_MANAGER},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": rollout, "uid": deployment_uid}
            ],
        },
        "type": "Opaque",
        # What it holds never changes, and nobody should have engines follow something else.
        "immutable": True,
        "stringData": {names.TOKEN_KEY: control.token},
    }


def may_wait(pod: EnginePod) -> bool:
    """Return whether a pod's engine may wait for the Secret: it says nothing of itself, and didn't just fall
    silent on a pod that serves, and so has the Secret.
    """
    return pod.state is None and not (pod.ready and pod.silent)


@dataclass(kw_only=True)
class ControlSecret:
    """Makes the Secret of one rollout, and remembers when that was last tried."""

    clock: Callable[[], float] = time.monotonic
    _tried: tuple[str, str, float] | None = None
    """Of which Deployment, under which name, when."""

    def due(self, control: Control, deployment_uid: str, *, well: bool) -> bool:
        """Return whether to try now. `well`: whether none can wait for it."""
        if self._tried is None or self._tried[:2] != (deployment_uid, control.secret):
            return True
        return not well and self.clock() - self._tried[2] >= AGAIN_SECONDS

    async def make(
        self, kube: Kube, namespace: str, rollout: str, control: Control, deployment_uid: str
    ) -> None:
        """Create it, unless one of its name is there. Raises KubeError."""
        try:
            await kube.create(
                names.object_path("api/v1", "secrets", namespace), body(rollout, control, deployment_uid)
            )
        except Conflict as error:
            if error.reason != "AlreadyExists":
                raise
        self._tried = (deployment_uid, control.secret, self.clock())

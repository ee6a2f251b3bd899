"""Writes the status: everything that must survive a crash, and no more often than that needs.

Every write is checked against the version that was looked at. An unchecked one could erase an intent to fall
back that the webhook wrote in between, which it has promised to Alertmanager to keep.
"""

import time
from collections.abc import Callable

from indexcache_core.digest import digest

from indexcache_operator import names
from indexcache_operator.api.status import Status
from indexcache_operator.api.stored import dump, read
from indexcache_operator.kube import Kube
from indexcache_operator.objects import Object

QUIET_SECONDS = 10.0
"""Numbers alone are written no more often than this: live ones are metrics."""


def loud(written: Object) -> Object:
    """Return what of a written status may not wait: all but the numbers of evidence and traffic, and the
    words that carry them.

    The argument is used up.
    """
    out = written
    for name in ("evidence", "quality", "recall", "reason", "message", "waiting", "reuse"):
        out.pop(name, None)
    (out.get("step") or {}).pop("requestsSeen", None)
    (out.get("step") or {}).pop("requestsNeeded", None)
    out["traffic"].pop("observed", None)
    for condition in out["conditions"]:
        condition.pop("message", None)
    return out


class StatusWriter:
    """Writes one rollout's status."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._written = -QUIET_SECONDS
        self._answered: tuple[str, str] | None = None
        """The last status as it was stored, and as it was to be, by their digests: a CRD that is older than
        the operator drops fields.
        """
        self.version = ""
        """resourceVersion of the last write."""

    def kept(self, old: Status, new: Status) -> bool:
        """Return whether all of the new status that can be stored was in the old one."""
        return old == new or self._answered == (_digest(dump(old)), _digest(dump(new)))

    def due(self, old: Status, new: Status) -> bool:
        """Return whether a changed status should be written now."""
        if old == new:
            return False
        before, after = dump(old), dump(new)
        if before == after or self._answered == (_digest(before), _digest(after)):
            return False  # they differ in what isn't stored
        return loud(before) != loud(after) or self._clock() - self._written >= QUIET_SECONDS

    async def write(self, kube: Kube, raw: Object, status: Status) -> Object:
        """Replace the status of the very object that was looked at. Returns the object as stored. Raises
        Conflict, KubeError.
        """
        metadata, wanted = raw["metadata"], dump(status)
        path = names.rollouts_path(metadata["namespace"], metadata["name"], "status")
        stored = await kube.replace(path, {**raw, "status": wanted})
        self._answered = _digest(dump(read(stored["status"]))), _digest(wanted)
        self._written = self._clock()
        self.version = stored["metadata"]["resourceVersion"]
        return stored


def _digest(written: Object) -> str:
    """Return what tells a status from others: two whole ones for each rollout would be most of the memory."""
    return digest(written, 64)

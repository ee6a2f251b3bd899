"""Accounts for one rollout's looks in the operator's metrics."""

import time

from indexcache_operator import figures, metrics
from indexcache_operator.api.status import Status
from indexcache_operator.model import Plan, Sighting


class Account:
    """Holds what the metrics say of one rollout."""

    def __init__(self, namespace: str, name: str) -> None:
        """Say nothing yet."""
        self._who = (namespace, name)
        self._figures = metrics.Figures()

    def owes(self) -> None:
        """Note that a look is owed from now on."""
        metrics.LAST_LOOK.put(self._who, time.time())

    def unchanged(self) -> None:
        """Note a look that saw nothing new: what was said last still holds."""
        metrics.LOOKS.labels("unchanged").inc()
        metrics.LAST_LOOK.put(self._who, time.time())

    def looked(self, sighting: Sighting, made: Plan[object], seconds: float) -> None:
        """Note a look all of whose plan is done, and how long both took."""
        metrics.LOOKS.labels("done").inc()
        metrics.LOOK_SECONDS.observe(seconds)
        metrics.LAST_LOOK.put(self._who, time.time())
        status: Status = made.status
        metrics.PHASES.put(self._who, status.phase)
        metrics.WEIGHT.put(self._who, status.traffic.desired)
        self._figures.show(figures.values(sighting.observation, made))
        before = sighting.rollout.status.fallback
        if status.fallback is not None and (before is None or before.since != status.fallback.since):
            metrics.FALLBACKS.labels(*self._who, status.fallback.cause).inc()

    def forget(self) -> None:
        """Say nothing of it any more."""
        metrics.PHASES.remove(self._who)
        metrics.WEIGHT.remove(self._who)
        metrics.LAST_LOOK.remove(self._who)
        self._figures.show(())

"""Kubernetes Events on a rollout.

An Event's time is written in whole seconds, and kubectl sorts by it: what happens in one second would be
shown in any order. So each Event of a rollout is given a second of its own, after that of the one before.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from indexcache_operator import names
from indexcache_operator.api.base import GROUP, KIND, VERSION
from indexcache_operator.kube import Kube
from indexcache_operator.model import Event

MAX_MESSAGE = 1024  # the API's own limit


SECOND = timedelta(seconds=1)
AHEAD = timedelta(seconds=10)
"""How far from the clock an Event's time may be at most: beyond, order is worth less than truth."""


@dataclass
class Seconds:
    """Gives the Events of one rollout their times."""

    last: datetime | None = None

    def next(self, now: datetime) -> datetime:
        """Return the second of an Event that happens now: after the last one's, unless that is far ahead."""
        at = now.replace(microsecond=0)
        if self.last is not None and at <= self.last <= at + AHEAD:
            at = self.last + SECOND
        self.last = at
        return at


async def emit(
    kube: Kube, *, namespace: str, name: str, uid: str, event: Event, seconds: Seconds | None = None
) -> None:
    """Write one Event, after those that had these seconds. Raises KubeError."""
    at = (seconds or Seconds()).next(datetime.now(UTC))
    now = at.isoformat(timespec="seconds").replace("+00:00", "Z")
    body: dict[str, Any] = {
        "metadata": {"generateName": f"{name}.", "namespace": namespace},
        "involvedObject": {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "namespace": namespace,
            "name": name,
            "uid": uid,
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message[:MAX_MESSAGE],
        "source": {"component": names.FIELD_MANAGER},
        "reportingComponent": names.FIELD_MANAGER,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    await kube.create(names.object_path("api/v1", "events", namespace), body)

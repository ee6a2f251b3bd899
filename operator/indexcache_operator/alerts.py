"""Says what an alert does: it writes the intent to fall back into the status of the rollout it speaks of, if
it speaks of the present revision.

The intent is all that is written; the rollout's own loop, woken, does the rest.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from indexcache_operator import metrics, names
from indexcache_operator.api.dns import InvalidName
from indexcache_operator.api.spec import OnFiring
from indexcache_operator.api.status import FallbackStatus
from indexcache_operator.api.stored import dump
from indexcache_operator.kube import Conflict, Kube, NotFound
from indexcache_operator.model import Rollout
from indexcache_operator.observe.rollout import read
from indexcache_operator.plan.facts import reach

logger = logging.getLogger(__name__)

CAUSE = "AlertFiring"
TRIES = 8


class Outcome(StrEnum):
    """Says what became of an alert."""

    ROLLED_BACK = "rolled_back"
    ALREADY = "already_falling_back"
    RESOLVED = "resolved"
    UNBOUND = "unbound"
    UNKNOWN = "unknown_rollout"
    OTHER_UID = "other_uid"
    OTHER_REVISION = "other_revision"
    NOTHING_EXPOSED = "nothing_exposed"
    IGNORED = "ignored"


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """Takes alerts that fire. `wake` is called with a rollout's uid once its intent is stored."""

    kube: Kube
    wake: Callable[[str], None]

    async def firing(self, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Outcome:
        """Take one alert; store the intent to fall back if it speaks of the present revision. Raises
        KubeError if the intent could not be stored, Conflict among them.
        """
        if not all(labels.get(name) for name in ("namespace", "rollout", "uid", "revision")):
            return Outcome.UNBOUND
        try:
            path = names.rollouts_path(labels["namespace"], labels["rollout"])
        except InvalidName:
            return Outcome.UNKNOWN
        last: Conflict | None = None
        for _ in range(TRIES):
            try:
                rollout = read(await self.kube.get(path))
            except NotFound:
                return Outcome.UNKNOWN
            outcome = judge(rollout, labels)
            if outcome is not Outcome.ROLLED_BACK:
                return outcome
            try:
                await self._store(rollout, message(labels, annotations))
            except Conflict as error:
                last = error
                continue
            logger.warning(
                "%s/%s: rolls back by alert %s", rollout.namespace, rollout.name, labels.get("alertname", "")
            )
            self.wake(rollout.uid)
            return outcome
        assert last is not None
        raise last

    async def _store(self, rollout: Rollout, text: str) -> None:
        intent = FallbackStatus(
            cause=CAUSE, message=text, since=datetime.now(UTC), revision=rollout.status.revision
        )
        status = replace(rollout.status, fallback=intent)
        path = names.rollouts_path(rollout.namespace, rollout.name, "status")
        await self.kube.replace(path, {**rollout.raw, "status": dump(status)})
        metrics.FALLBACKS.labels(rollout.namespace, rollout.name, CAUSE).inc()


def judge(rollout: Rollout, labels: Mapping[str, str]) -> Outcome:
    """Judge what an alert with these labels means for a rollout as it stands. Pure."""
    status = rollout.status
    if rollout.uid != labels["uid"]:
        return Outcome.OTHER_UID
    if status.revision != labels["revision"]:
        return Outcome.OTHER_REVISION
    if rollout.spec is not None and rollout.spec.alerts.on_firing is OnFiring.IGNORE:
        return Outcome.IGNORED
    if status.fallback is not None and status.fallback.revision == status.revision:
        return Outcome.ALREADY
    if status.phase not in reach.EXPOSED:
        return Outcome.NOTHING_EXPOSED
    return Outcome.ROLLED_BACK


def message(labels: Mapping[str, str], annotations: Mapping[str, str]) -> str:
    """Return an alert in words, for the status."""
    text = annotations.get("summary") or annotations.get("description") or ""
    return f"alert {labels.get('alertname', 'without a name')} fires" + (f": {text[:512]}" if text else "")

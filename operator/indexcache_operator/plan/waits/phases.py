"""Tells what a rollout waits for, in whatever phase."""

from indexcache_operator.api.status import Origin, Phase, WaitStatus
from indexcache_operator.plan.facts.endings import ending
from indexcache_operator.plan.facts.revision import KILL, RETRY, next_retry, used_retry
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.waits import step, unexposed

UNDER_WAY = (Phase.PROMOTING, Phase.FALLING_BACK)


def waiting(situation: Situation) -> WaitStatus | None:
    """Return what is waited for; None where nothing is, as in Promoted. Before the shadow it is what the
    checks said.
    """
    status, phase = situation.status, situation.status.phase
    if phase in (Phase.SHADOWING, Phase.CANARY) and situation.snapshot.observation.spec is not None:
        return unexposed.waiting(situation) if phase is Phase.SHADOWING else step.waiting(situation)
    if phase in UNDER_WAY:
        return WaitStatus(
            origin=Origin.PLATFORM,
            reason=phase.value,
            message=status.message,
            way_out="nothing need be done; status.pods says what each engine does",
        )
    if phase is Phase.FELL_BACK:
        return _fell_back(situation)
    return status.waiting if phase in (Phase.PENDING, Phase.CHECKING, Phase.FAILED) else None


def _fell_back(situation: Situation) -> WaitStatus:
    status, intent = situation.status, situation.status.fallback
    cause = intent.cause if intent else "FellBack"
    again = next_retry(used_retry(status, status.revision), status.revision)
    way_out = f'change spec.engine or spec.indexCache, or annotate {RETRY}: "{again}" to try it again'
    if intent is not None and intent.kill and not _rejected(situation):
        way_out = f"remove annotation {KILL} to try it again"
    return WaitStatus(
        origin=ending(cause).origin, reason=cause, message="somebody who leads on", way_out=way_out
    )


def _rejected(situation: Situation) -> bool:
    return any(r.revision == situation.status.revision for r in situation.status.rejected)

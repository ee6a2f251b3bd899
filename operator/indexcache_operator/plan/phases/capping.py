"""Caps the reach where evidence speaks against contexts that no pod may serve under reuse: nobody is harmed
by them, so nothing is rolled back, and none is granted in this try any more.
"""

from dataclasses import replace

from indexcache_operator.api.status import CapStatus, ReachStatus, Status
from indexcache_operator.plan.facts import reach
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.phases.triggers import CAUSES, ENGAGED, breach_message


def cap(situation: Situation) -> Status:
    """Return the status with the reach capped below the shortest contexts that evidence speaks against beyond
    what is granted. A lower cap takes the place of a higher one.
    """
    status, k = situation.status, situation.snapshot.k
    if status.phase not in ENGAGED or k is None:
        return status
    breach = situation.evidence.breach_beyond(reach.granted(status))
    if breach is None:
        return status
    answer, test = breach
    assert test.context is not None
    kept, tokens = status.reach or ReachStatus(), reach.end(test.context - 1, k)
    if kept.cap is not None and kept.cap.tokens <= tokens:
        return status
    capped = CapStatus(
        tokens=tokens,
        cause=CAUSES[answer.guardrail.name],
        message=breach_message(situation, answer, test),
    )
    return replace(status, reach=replace(kept, cap=capped))

"""Tells of each cause that ends a try where it lies, and what comes of it.

Only the pattern's fault rejects a revision, and it is its fault only where evidence says so: no deadline is
evidence. A cause that this version doesn't know, as a newer one may have written it, counts as one: what was
stopped stays stopped.
"""

from enum import Enum
from typing import NamedTuple

from indexcache_operator.api.status import Origin


class Then(Enum):
    """Says what comes once all is at the baseline."""

    REJECT = "the revision is remembered, and not tried again unless somebody asks for it"
    HOLD = "back to shadow, with all evidence, until another exposure can be expected to end better"
    REST = "nothing, until whoever stopped it takes that back"
    NEXT = "another try, from the checks on"


class Ending(NamedTuple):
    """Describes one cause."""

    origin: Origin
    then: Then


ENDINGS = {
    "OverlapBelowThreshold": Ending(Origin.PATTERN, Then.REJECT),
    "RecallBelowThreshold": Ending(Origin.PATTERN, Then.REJECT),
    "QualityBelowThreshold": Ending(Origin.PATTERN, Then.REJECT),
    "EngineBreaker": Ending(Origin.PATTERN, Then.REJECT),
    "AlertFiring": Ending(Origin.PATTERN, Then.REJECT),
    "Undecided": Ending(Origin.PATTERN, Then.HOLD),
    "TooLittleTraffic": Ending(Origin.TRAFFIC, Then.HOLD),
    "PlatformNotReady": Ending(Origin.PLATFORM, Then.HOLD),
    "NothingActs": Ending(Origin.USER, Then.HOLD),
    "MeasuringStopped": Ending(Origin.PLATFORM, Then.HOLD),
    "EngineFailed": Ending(Origin.PLATFORM, Then.NEXT),
    "Restored": Ending(Origin.PLATFORM, Then.NEXT),
    "Killed": Ending(Origin.USER, Then.REST),
    "Superseded": Ending(Origin.USER, Then.NEXT),
    "InvalidSpec": Ending(Origin.USER, Then.NEXT),
    "RouteChanged": Ending(Origin.USER, Then.NEXT),
    "RouteTaken": Ending(Origin.USER, Then.NEXT),
    "CheckpointReplaced": Ending(Origin.USER, Then.NEXT),
    "Deleted": Ending(Origin.USER, Then.NEXT),
    # As earlier versions called what a deadline ended, should one be under way.
    "ProgressDeadlineExceeded": Ending(Origin.TRAFFIC, Then.NEXT),
    "ShadowTimeout": Ending(Origin.TRAFFIC, Then.NEXT),
    "NoEvidence": Ending(Origin.TRAFFIC, Then.NEXT),
}
UNKNOWN = Ending(Origin.PATTERN, Then.REJECT)


def ending(cause: str) -> Ending:
    """Return what is known of a cause."""
    return ENDINGS.get(cause, UNKNOWN)

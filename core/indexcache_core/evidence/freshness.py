"""Tells by counts whether an engine goes on measuring what it serves under reuse. Requests count, never time:
where none comes nobody is exposed.

Measuring may take MEASURED_SHARE of the time of an engine's steps, and no less where there is something to
measure. So if measuring a step takes no longer than the steps of a request do, at least that share of
requests is measured; mostly it is far more. Requests that could be measured are counted in windows. In one
that is `requests_until` its number long there was an observation, and another begins; or there was none,
and measuring has stopped.

An engine that measures each request with a chance of MEASURED_SHARE or more is falsely told to have stopped
with a chance of DELTA at most, in all its windows together: each spends a part of it (traffic.spent), so
later ones are longer. One that has stopped is told two windows after its last observation at the latest.
"""

import math

from indexcache_core.evidence.traffic import DELTA, spent

MEASURED_SHARE = 0.005
"""Of the time of steps that could be measured, at most so much is spent on measuring; of requests, at least
so many are taken to be measured.
"""
OWN = 10
"""Observations that a step of a rollout needs of its own, of each judged length that it rests on: that it is
judged at all. How many it takes to be sure is the certificates' business.
"""


def requests_until(number: int, delta: float = DELTA) -> int:
    """Return how many requests in a window of this number (from 1 on), none of which was measured, tell that
    measuring has stopped.
    """
    return math.ceil(math.log(spent(number, delta)) / math.log1p(-MEASURED_SHARE))

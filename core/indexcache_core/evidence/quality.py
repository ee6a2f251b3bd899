"""Paired probes as observations in [0, 1], so that the same evidence judges them.

A probe's drop d is the baseline's mean log-probability a token of a fixed continuation less the canary's, in
nats; positive is worse. It is clipped at five times the tolerance on either side and mapped so that no drop
at all is 1/2 and a drop of exactly the tolerance is THRESHOLD:

    X = 1 - (d + 5 tol) / (10 tol).

What is tested is thus the mean of the *clipped* drop: one answer wholly lost counts as five tolerances, not
as infinitely many.
"""

import math

CLIP = 5.0
"""In tolerances."""
THRESHOLD = 0.4
"""The value of a drop of exactly the tolerance."""


def value(drop: float, tolerance: float) -> float:
    """Return the observation of a drop. A drop that is no number (an infinite or undefined log-probability)
    is the worst, 0.
    """
    if math.isnan(drop):
        return 0.0
    clipped = min(max(drop / tolerance, -CLIP), CLIP)
    return 1.0 - (clipped + CLIP) / (2 * CLIP)


def drop(value: float, tolerance: float) -> float:
    """Return the drop, in nats a token, of an observation: for people to read a mean or a bound of
    observations by.
    """
    return (1.0 - value) * 2 * CLIP * tolerance - CLIP * tolerance

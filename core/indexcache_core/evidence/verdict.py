"""Works out what the evidence says of one test: one guardrail, one threshold, and the observations that
belong to it.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from indexcache_core.evidence import certificate, disasters
from indexcache_core.histogram import Histogram


class Verdict(StrEnum):
    """The verdicts, in the order in which they outrank each other; Observing never acts."""

    BREACHED = "Breached"
    NO_DATA = "NoData"
    HOLDING = "Holding"
    CERTIFIED = "Certified"
    OBSERVING = "Observing"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict and its figures; those that cost something are worked out when asked for."""

    verdict: Verdict
    histogram: Histogram
    """What the certificate may count."""
    threshold: float | None
    log_e: float
    """log of the wealth of the bet against the pattern; it breaches at log(1 / alpha)."""
    beta: float
    binary: bool = False
    """Whether each observation is 0 or 1, so that its certificate is that of disasters.py."""

    @property
    def mean(self) -> float | None:
        """Return the mean of the observations; None without any."""
        return self.histogram.mean

    @property
    def samples(self) -> int:
        """Return how many observations there are."""
        return self.histogram.count

    @property
    def lower_bound(self) -> float | None:
        """Return a bound above which the mean is with probability 1 - beta, at all times at once."""
        bound = disasters.lower_bound if self.binary else certificate.lower_bound
        return bound(self.histogram, self.beta)

    @property
    def needed(self) -> int | None:
        """Return how many observations the certificate still wants, estimated; 0 where it wants none."""
        if self.threshold is None or self.verdict in (Verdict.CERTIFIED, Verdict.OBSERVING):
            return 0
        needed = disasters.still_needed if self.binary else certificate.still_needed
        return needed(self.histogram, self.threshold, self.beta)


def log_limit(alpha: float) -> float:
    """Return the logarithm of the wealth, in nats, at which a test with this part of alpha breaches: log(1 /
    alpha).
    """
    return -math.log(alpha)


def breached(log_e: float, alpha: float) -> bool:
    """Return whether the wealth of the bet against the pattern reached 1 / alpha."""
    return log_e >= log_limit(alpha)


def judge(
    histogram: Histogram,
    threshold: float | None,
    *,
    log_e: float,
    alpha: float,
    beta: float,
    acts: bool = True,
    binary: bool = False,
) -> Judgement:
    """Return the verdict on one test.

    `histogram`: all observations of the revision that the certificate may count; `log_e`: of the test's
    detectors; `alpha`: this test's part of the chance of a false rollback; `beta`: the chance of a wrong
    certificate; `acts`: False where the guardrail only observes; `binary`: see Judgement.
    """
    if threshold is None or not acts:
        verdict = Verdict.OBSERVING
    elif breached(log_e, alpha):
        verdict = Verdict.BREACHED
    elif not histogram.count:
        verdict = Verdict.NO_DATA
    elif (disasters.certified if binary else certificate.certified)(histogram, threshold, beta):
        verdict = Verdict.CERTIFIED
    else:
        verdict = Verdict.HOLDING
    return Judgement(
        verdict=verdict,
        histogram=histogram,
        threshold=threshold,
        log_e=log_e,
        beta=beta,
        binary=binary,
    )


def worst(verdicts: "list[Verdict]") -> Verdict:
    """Return the verdict that decides among several: any breach, else what is missing, else certified;
    Observing only where nothing acts.
    """
    return next((v for v in Verdict if v in verdicts), Verdict.OBSERVING)

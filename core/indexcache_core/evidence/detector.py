"""The detector that rolls back: has the mean fallen under the threshold, from the start or at any time since?

Null "healthy": E[X_t | past] >= m0, always. A bet on the whole past would need as long to forget good times
as they lasted, so bets are opened again and again: a Shiryaev-Roberts recursion whose bets are paid from a
finite purse (e-detectors: Shin, Ramdas, Rinaldo, NEJSDS 2024, there with an unbounded purse and a bound on
the run length instead). For each fraction, in each look with new data,

    S <- (S + w_t) L_t,   w_t = R(t - 1) - R(t),   S_0 = w_1,   R(0) = 1, R(t) = 1 / (2 (1 + log t));

L_t is the wealth factor of the look's observations, t its *slot*: whole seconds since the revision began,
from 2 on, by a clock that doesn't jump. S, the mean over the fractions, is at most the value of all bets and
of the purse not yet spent: a nonnegative supermartingale that begins at 1. By Ville's inequality P(S ever
reaches 1 / alpha) <= alpha. Slots that passed without data are opened together at the next look: nothing came
between. R(t) is what is left in the purse after slot t: half of it opens the first bet, and the rest is spent
so slowly that detection after a time T of good evidence costs about log T + 2 log log T more nats than
detection from the start.

Restarts. A reader that lost its memory begins with the cumulative counts as one batch: exactly the bet that
was opened first, with w_1, as its wealth doesn't depend on order. Bets opened between are forgotten, and
slots up to now are not opened again; so what the new reader holds is a part of what a reader without a crash
would hold, at most as large, and one bound covers all lives together: no weight is spent twice. What it loses
is sensitivity to a change just before the crash, for a while. (Counts of an engine that died are lost to the
new reader too. This is covered as far as engines don't die *because of* values of the measure.)

Several streams (shadow and on) may each have a detector: the mean of their S is again such a process.
"""

import math
from dataclasses import dataclass

from indexcache_core.evidence.betting import FRACTIONS, log_add, log_mean_exp, log_wealth, mirrored
from indexcache_core.histogram import Histogram


def log_purse(first: int, last: int) -> float:
    """Return log of w_first + ... + w_last; -inf for none."""
    return -math.inf if last < first else math.log(_left(first - 1) - _left(last))


def _left(slot: int) -> float:
    """Return R: what is left in the purse once this slot and all before it are opened."""
    return 1.0 if slot < 1 else 1.0 / (2.0 * (1.0 + math.log(slot)))


@dataclass(frozen=True)
class Detector:
    """Says where the recursion stands: log S for each fraction, and the last slot opened. Kept in memory
    only."""

    log_s: tuple[float, ...]
    slot: int

    @property
    def log_e(self) -> float:
        """Return log of the mean of S: the detector's e-value."""
        return log_mean_exp(self.log_s)

    def after(self, batch: Histogram, m0: float, slot: int) -> "Detector":
        """Return the detector after a look's new observations; itself if there are none.

        `m0`: the threshold; `slot`: seconds since the revision began, never falling.
        """
        if not batch.count:
            return self
        opened = log_purse(self.slot + 1, slot)
        gains = log_wealth(mirrored(batch.counts), 1.0 - m0)
        log_s = tuple(log_add(s, opened) + gain for s, gain in zip(self.log_s, gains, strict=True))
        return Detector(log_s=log_s, slot=max(slot, self.slot))


def fresh() -> Detector:
    """Return the detector before any observation of the revision."""
    return Detector(log_s=(log_purse(1, 1),) * len(FRACTIONS), slot=1)


def resumed(cumulative: Histogram, m0: float, slot: int) -> Detector:
    """Return the detector after a loss of memory: the first bet on all that the counters hold; slots up to
    `slot` stay unopened.
    """
    first = fresh().after(cumulative, m0, 1)
    return Detector(log_s=first.log_s, slot=max(slot, 1))


def log_e(detectors: "list[Detector] | tuple[Detector, ...]") -> float:
    """Return log of the mean of the e-values of detectors of one null on several streams; 0 for none."""
    return log_mean_exp([d.log_e for d in detectors]) if detectors else 0.0

"""Decides when the breaker is asked, and about what: between an engine's switch, its measurements and the
evidence. Pure: the time is an argument.

A question is a series, its pattern, the guardrails that may trip and their thresholds; each has a breaker of
its own (breaker.py), kept after it tripped, so that everybody can read why. Slots are seconds since the
series began. An `off` has no series, and asks nothing whatever it carries.
"""

import math

from indexcache_core.contract import BreakerTest, Desired, Mode, Reason, Site
from indexcache_core.pattern import shared_sites

from indexcache_runtime.control.switch import Switch
from indexcache_runtime.measuring.breaker import CELLS_A_LOOK, LOOK_SECONDS, Breaker
from indexcache_runtime.measuring.measurements import Measurements


class BreakerControl:
    """Runs one engine's breaker: what it judges, and when. Mutable, not thread-safe: whoever shares it holds
    a lock."""

    def __init__(self, switch: Switch, measurements: Measurements, sites: tuple[Site, ...]) -> None:
        self._switch, self._measurements, self._sites = switch, measurements, sites
        self._breaker: Breaker | None = None
        self._accepted: Desired | None = None
        self._question: object = None
        self._began = self._looked = -math.inf

    def ask(self, now: float) -> None:
        """Follow what the switch last accepted: another series is measured, another question has another
        breaker."""
        s = self._switch
        if self._measurements.begin(s.series_number):
            self._began = now
        if s.accepted is self._accepted:
            return
        self._accepted = s.accepted
        asked = s.accepted.breaker if s.accepted is not None and s.flags.mode != Mode.OFF else None
        question = (
            (s.series_number, s.pattern, asked, s.thresholds)
            if asked is not None and s.pattern is not None
            else None
        )
        if question == self._question:
            return
        self._question, self._breaker = question, None
        if asked is not None and s.pattern is not None:
            self._measurements.retake()
            self._breaker = Breaker(asked, s.thresholds, shared_sites(s.pattern), self._slot(now))
            self._looked = -math.inf

    def judge(self, now: float) -> None:
        """Take up what was measured, every LOOK_SECONDS; in mode on trip the switch if that is enough."""
        if self._breaker is None:
            return
        if now >= self._looked + LOOK_SECONDS:
            self._looked = now
            self._breaker.look(self._measurements.take(CELLS_A_LOOK), self._slot(now))
        if self._switch.mode is Mode.ON and (breach := self._breaker.breach()) is not None:
            why = self._breaker.message(breach, self._sites)
            what_to_do = (
                "PUT a newer epoch; under the same pattern it trips again until an `off` that is "
                "PUT ended this series"
            )
            self._switch.trip(Reason.BREAKER, f"epoch {self._switch.epoch}: {why}. {what_to_do}")

    @property
    def next_look(self) -> float:
        """Return when `judge` has something to take up again."""
        return math.inf if self._breaker is None else self._looked + LOOK_SECONDS

    def standing(self) -> tuple[BreakerTest, ...]:
        """Return how near each guardrail is to tripping; empty without a breaker."""
        return self._breaker.standing() if self._breaker is not None else ()

    def _slot(self, now: float) -> int:
        return max(int(now - self._began), 0) + 1

"""Tests what a breaker is asked of, when it looks, and from which slot on, by the evidence written out."""

import pytest
from indexcache_core.contexts import JUDGED
from indexcache_core.contract import Breaker, BreakerTest, Desired, Flags, Mode, Site, Thresholds, Work
from indexcache_core.evidence import detector
from indexcache_core.evidence.guardrails import tests_alpha as alpha_of_a_test
from indexcache_core.evidence.verdict import log_limit
from indexcache_core.histogram import Histogram, of
from indexcache_runtime.control.breaker_control import BreakerControl
from indexcache_runtime.control.switch import Switch
from indexcache_runtime.engine import Measured, Row, StepPlan
from indexcache_runtime.measuring.bookings import Cell
from indexcache_runtime.measuring.breaker import CELLS_A_LOOK, LOOK_SECONDS
from indexcache_runtime.measuring.measurements import Measurements

SITES = tuple(Site(index=i, layer=i, domain="tokens", k=64) for i in range(4))
BREAKER = Breaker(alpha=0.01, guardrails=("recall_per_indexer",))
BEGAN = 50.0


class Limited(Measurements):
    """Measurements that note how many cells were asked for."""

    def __init__(self) -> None:
        super().__init__(64)
        self.limits: list[int] = []

    def take(self, limit: int) -> list[tuple[Cell, Histogram, Histogram]]:
        """Return what is new."""
        self.limits.append(limit)
        return super().take(limit)


class Scene:
    """A switch, measurements and a breaker's control."""

    def __init__(self) -> None:
        self.switch = Switch("life", ("tokens",) * 4)
        self.measurements = Limited()
        self.control = BreakerControl(self.switch, self.measurements, SITES)
        self.requests = 0

    def put(self, now: float, m0: float = 0.5, breaker: Breaker | None = BREAKER) -> None:
        """Accept flags in mode on, and follow them."""
        desired = Desired(
            incarnation="life",
            epoch=self.switch.epoch + 1,
            flags=Flags(mode=Mode.ON, pattern="FSFS"),
            permit_seconds=600.0,
            thresholds=Thresholds(recall_per_indexer=m0),
            breaker=breaker,
        )
        self.switch.put(desired, now)
        self.control.ask(now)

    def measure(self, recall: float, requests: int = 4) -> None:
        """Measure so many requests at site 1, which end with that."""
        names = [f"r{self.requests + i}" for i in range(requests)]
        self.requests += requests
        plan = StepPlan(Mode.ON, "FSFS", self.switch.series_number, tuple(Row(n, 200) for n in names))
        self.measurements.add(plan, Measured({1: [recall] * requests}, {1: [recall] * requests}))
        self.measurements.ended(names)

    def shown(self) -> BreakerTest:
        """Return the only test."""
        (found,) = self.control.standing()
        return found


def test_slots_are_seconds_since_the_series_began() -> None:
    scene = Scene()
    scene.put(BEGAN)
    scene.measure(0.1)
    scene.control.judge(BEGAN + 5.5)
    assert scene.shown().log_e == pytest.approx(detector.fresh().after(of([0.1] * 4), 0.5, 6).log_e)


def test_a_question_that_comes_later_opens_no_slot_before() -> None:
    scene = Scene()
    scene.put(BEGAN)
    scene.measure(0.1)
    scene.put(BEGAN + 30.0, m0=0.4)
    scene.control.judge(BEGAN + 30.0)
    assert scene.shown().log_e == pytest.approx(detector.resumed(of([0.1] * 4), 0.4, 31).log_e)


def test_the_limit_is_by_the_patterns_shared_indexers() -> None:
    scene = Scene()
    scene.put(BEGAN)
    tests = 2 * len(JUDGED) * len(Work)
    assert scene.shown().log_limit == pytest.approx(log_limit(alpha_of_a_test(BREAKER.alpha, 1, tests)))


def test_it_looks_no_more_often_than_it_says_and_takes_up_no_more_cells() -> None:
    scene = Scene()
    scene.put(BEGAN)
    for passed in (0.0, 0.1, LOOK_SECONDS - 0.01, LOOK_SECONDS, LOOK_SECONDS + 0.1, 2 * LOOK_SECONDS):
        scene.control.judge(BEGAN + passed)
    assert scene.measurements.limits == [CELLS_A_LOOK] * 3


def test_who_takes_the_breaker_back_is_judged_no_more() -> None:
    scene = Scene()
    scene.put(BEGAN)
    scene.put(BEGAN + 1.0, breaker=None)
    scene.control.judge(BEGAN + 2.0)
    assert (scene.control.standing(), scene.measurements.limits) == ((), [])

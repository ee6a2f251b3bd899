"""Tests how often a breaker trips falsely, how soon it trips rightly, and what never trips it."""

import math
import random

import pytest
from indexcache_core.contexts import JUDGED, JUDGED_FROM
from indexcache_core.contract import Mode, Work
from indexcache_core.histogram import of
from indexcache_runtime.measuring.breaker import Breaker

from tests.unit.runtime.measuring.breaking import (
    CONTEXT,
    M0,
    SHARED,
    breaker,
    cell,
    feed,
    looks_until_tripped,
)


def false_trips(runs: int, looks: int, alpha: float) -> float:
    """Return which part trips of engines whose every mean is exactly the threshold, the worst that is
    healthy.
    """
    rng = random.Random(7)
    tripped = 0
    for _ in range(runs):
        # All or nothing: the widest scatter there is at this mean; the last bucket's lower bound is 0.98, so
        # 0.51 of them.
        tripped += (
            looks_until_tripped(breaker(alpha), lambda site: float(rng.random() < M0 + 0.005), looks)
            is not None
        )
    return tripped / runs


@pytest.mark.simulation
def test_a_healthy_pattern_trips_no_more_often_than_alpha_says() -> None:
    alpha = 0.3
    assert false_trips(runs=150, looks=80, alpha=alpha) <= alpha


@pytest.mark.simulation
def test_without_the_split_and_the_finite_purse_the_bound_would_not_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The simulation can tell: a build that spends without end, and alpha on every test, trips most healthy
    engines.
    """
    monkeypatch.setattr("indexcache_core.evidence.detector.log_purse", lambda first, last: 0.0)
    monkeypatch.setattr("indexcache_core.evidence.guardrails.JUDGED", (CONTEXT,))
    assert false_trips(runs=40, looks=80, alpha=0.3) > 0.5


def test_a_bad_site_among_good_ones_trips_within_seconds() -> None:
    rng = random.Random(1)
    b = breaker(alpha=0.001)
    found = looks_until_tripped(
        b, lambda site: rng.uniform(0.0, 0.4) if site == 3 else rng.uniform(0.8, 1.0), looks=40
    )
    assert found is not None
    assert found <= 12  # looks, each of five observations a site: three seconds
    breach = b.breach()
    assert breach is not None
    assert (breach.guardrail, breach.site, breach.context, breach.work) == (
        "recall_per_indexer",
        3,
        CONTEXT,
        Work.PREFILL,
    )
    assert breach.mean == pytest.approx(0.2, abs=0.05)
    assert breach.observations == 5 * found
    assert (
        breach.log_e
        >= breach.log_limit
        == pytest.approx(math.log(3 * len(JUDGED) * len(Work) * len(SHARED) / 0.001))
    )


def test_a_good_pattern_that_turns_bad_trips() -> None:
    b = breaker()
    for second in range(1, 120):
        feed(b, second, {site: [0.9] * 3 for site in SHARED})
    assert b.breach() is None
    assert looks_until_tripped_from(b, 120, 0.1) <= 20


def looks_until_tripped_from(b: Breaker, second: int, value: float) -> int:
    for i in range(100):
        feed(b, second + i, {site: [value] * 3 for site in SHARED})
        if b.breach():
            return i + 1
    raise AssertionError("never")


def test_contexts_that_are_not_judged_say_nothing() -> None:
    b = breaker()
    for context in range(JUDGED_FROM):
        feed(b, 5, {site: [0.0] * 1000 for site in SHARED}, context=context)
    assert b.breach() is None


def test_what_only_observes_does_not_trip() -> None:
    b = breaker(guardrails=("overlap",))
    for second in range(1, 50):
        b.look([(cell(site), of([0.9] * 5), of([0.0] * 5)) for site in (*SHARED, None)], second)
    assert b.breach() is None
    assert [t.guardrail for t in b.standing()] == ["overlap"]


def test_what_ran_all_full_says_nothing() -> None:
    """It may be of requests beyond the reach, whom reuse doesn't serve."""
    on, both = breaker(), breaker()
    for b in (on, both):
        feed(b, 2, {1: [0.4] * 6})
    for second in range(2, 60):
        feed(both, second, {site: [0.0] * 6 for site in SHARED}, mode=Mode.SHADOW)
    assert both.standing() == on.standing()
    assert both.breach() is None


def test_a_build_that_judges_it_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    b, own = breaker(), Breaker.look
    monkeypatch.setattr(
        Breaker,
        "look",
        lambda b, new, slot: own(b, [(cell._replace(mode=Mode.ON), *found) for cell, *found in new], slot),
    )
    for second in range(2, 60):
        feed(b, second, {site: [0.0] * 6 for site in SHARED}, mode=Mode.SHADOW)
    assert b.breach() is not None

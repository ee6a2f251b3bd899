"""Tests how far certificates reach."""

from typing import Any

import pytest
from indexcache_core.contract import Mode, State, Work
from indexcache_core.histogram import Histogram, of
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import CapStatus, Phase, ReachStatus, Status
from indexcache_operator.plan.evidence import bets, certified_reach, counters
from indexcache_operator.plan.evidence.judgements import Judgements
from indexcache_operator.plan.facts.guardrails import guardrails
from indexcache_operator.plan.facts.memory import Memory, TotalKey
from indexcache_operator.plan.facts.reach import UNBOUNDED

from tests.unit.operator.plan.build import QUALITY, case, granted, pod, snapshot, spec, status
from tests.unit.operator.plan.evidence.engines import padded, served, total
from tests.unit.operator.plan.world_parts import K

GOOD, BAD, FEW = of([0.95] * 300), of([0.05] * 300), of([0.95] * 2)
ON, SHADOW = Mode.ON, Mode.SHADOW
Found = dict[int, Histogram]
"""What was measured of prefill, by bucket of context length."""
SOME: Found = {2: GOOD, 3: GOOD, 4: FEW, 5: GOOD}
CANARY = status(Phase.CANARY, reach=None)


def reached(
    shadow: Found,
    on: Found | None = None,
    kept: Status = CANARY,
    asked: Spec | None = None,
    traffic: State | None = None,
    more: dict[TotalKey, Histogram] | None = None,
) -> tuple[int, int]:
    """Return the reach by shadow and the one under reuse, of a rollout that measured this."""
    asked = asked or spec()
    totals = {total(context=b, mode=SHADOW): h for b, h in shadow.items()}
    totals |= {total(context=b, mode=ON): h for b, h in (on or {}).items()} | (more or {})
    new = counters.Batches()
    for key, histogram in totals.items():
        new.add(key, histogram)
    memory = bets.place(asked, Memory(key="try", totals=totals), new, 2)
    seen = snapshot(pod("a", traffic or served({3: 1.0})), spec=asked, status=kept)
    found = certified_reach.reaches(case(seen, memory=memory), Judgements(memory), guardrails(asked))
    return found.shadow, found.reuse


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, 32),
        ({3: GOOD}, 32),
        ({2: GOOD}, 64),
        (SOME, 128),  # what is beyond a gap doesn't count
        (dict.fromkeys(range(2, 8), GOOD), 128 * 16),
        (dict.fromkeys(range(2, 9), GOOD), UNBOUNDED),
        ({2: BAD, 3: GOOD}, 32),
    ],
)
def test_it_ends_before_the_first_bucket_that_is_not_certified(found: Found, expected: int) -> None:
    assert reached(found)[0] == expected


def test_under_reuse_it_goes_no_farther_than_in_shadow() -> None:
    everything = dict.fromkeys(range(2, 9), GOOD)
    assert reached({2: GOOD}, everything) == (64, 64)
    assert reached(everything, {2: GOOD}) == (UNBOUNDED, 64)


def test_where_users_decode_the_certificate_of_decode_is_wanted_too() -> None:
    decoding = served({3: 1.0}, {3: 1e-9})
    assert reached({2: GOOD, 3: GOOD}, traffic=decoding)[0] == 64
    certified = {total(context=3, mode=SHADOW, work=Work.DECODE): GOOD}
    assert reached({2: GOOD, 3: GOOD}, traffic=decoding, more=certified)[0] == 128


def test_every_guardrail_that_acts_must_be_certified_for_each_indexer() -> None:
    each = spec(guardrails={"recall": {"min": 0.5, "perIndexerMin": 0.3}})
    assert reached({2: GOOD}, asked=each)[0] == 32
    one, both = ({total(site, 2): GOOD for site in sites} for sites in ((1,), (1, 3)))
    assert reached({2: GOOD}, asked=each, more=one)[0] == 32
    assert reached({2: GOOD}, asked=each, more=both)[0] == 64
    observing = spec(guardrails={"recall": {"min": 0.5}, "overlap": {"min": 0.3, "observeOnly": True}})
    assert reached({2: GOOD}, asked=observing)[0] == 64


@pytest.mark.parametrize(
    ("floor", "found", "expected"),
    [(64, {3: GOOD}, 128), (63, {3: GOOD}, 32), (64, {2: FEW, 3: GOOD}, 32), (64, {2: GOOD, 3: GOOD}, 128)],
)
def test_a_bucket_whose_steps_run_full_anyway_wants_a_certificate_once_it_is_measured(
    floor: int, found: Found, expected: int
) -> None:
    asked = spec(indexCache={"pattern": "FSFS", "minContextTokens": floor})
    assert reached(found, asked=asked)[0] == expected


def test_what_was_granted_stays_without_the_counters_that_it_rests_on() -> None:
    kept = status(Phase.CANARY, reach=granted(64, 128))
    assert reached({}, kept=kept) == (128, 64)
    assert reached({4: GOOD}, {3: GOOD}, kept=kept) == (256, 128)


def test_a_cap_bounds_all_that_comes_after_it() -> None:
    cap = CapStatus(tokens=64, cause="RecallBelowThreshold")
    kept = status(Phase.SHADOWING, reach=ReachStatus(cap=cap))
    assert reached({2: GOOD, 3: GOOD, 4: GOOD}, kept=kept)[0] == 64
    unguarded = spec(guardrails={"unguarded": True})
    assert reached({}, kept=kept, asked=unguarded) == (64, 64)


def test_a_cap_below_what_the_canary_keeps_bounds_all_pods() -> None:
    cap = CapStatus(tokens=64, cause="RecallBelowThreshold")
    kept = status(Phase.CANARY, reach=granted(32, 128, cap=cap))
    assert reached({}, {2: GOOD, 3: GOOD}, kept=kept) == (128, 64)


def test_it_says_what_share_of_the_work_that_is() -> None:
    asked = spec(strategy={"reach": {"minShare": 0.7}})
    seen, memory = snapshot(pod("a", served({2: 3.0, 4: 1.0})), spec=asked), Memory(key="try")

    found = certified_reach.reaches(case(seen, memory=memory), Judgements(memory), guardrails(asked))

    assert (found.work, found.k, found.min_share) == (padded({2: 3.0, 4: 1.0}), K, 0.7)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"unguarded": True}, UNBOUNDED),
        (QUALITY, UNBOUNDED),
        ({"recall": {"min": 0.5, "observeOnly": True}, "unguarded": True}, UNBOUNDED),
        ({}, 0),  # nothing acts, and nobody asked for that
    ],
)
def test_where_nothing_that_is_measured_acts_there_is_no_bound(asked: dict[str, Any], expected: int) -> None:
    assert reached(SOME, asked=spec(guardrails=asked)) == (expected, expected)


def test_while_no_engine_says_what_it_chooses_nothing_is_granted() -> None:
    assert reached(SOME, traffic=served({3: 1.0}, sites=())) == (0, 0)

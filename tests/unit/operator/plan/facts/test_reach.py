"""Tests how far reuse reaches, by what was granted and by what certificates say."""

from typing import Any

import pytest
from indexcache_operator.api.status import Phase, ReachStatus
from indexcache_operator.plan.facts import reach
from indexcache_operator.plan.facts.reach import UNBOUNDED

from tests.unit.operator.plan.build import LEAST, granted, reaches, status


@pytest.mark.parametrize(
    ("bucket", "tokens", "k", "expected"),
    [
        (3, 128, 16, True),
        (3, 127, 16, False),
        (8, 128 * 16, 16, False),
        (8, UNBOUNDED, 16, True),
        (3, UNBOUNDED, None, True),
        (None, 0, 16, True),
        (2, 0, None, False),
        (2, 64, None, True),
    ],
)
def test_what_a_reach_holds(bucket: int | None, tokens: int, k: int | None, expected: bool) -> None:
    assert reach.within(bucket, tokens, k) is expected


def test_the_least_reach_is_twice_what_is_chosen_and_the_last_bucket_has_no_end() -> None:
    assert (reach.least(16), reach.end(8, 16), reach.said(UNBOUNDED), reach.said(64)) == (
        32,
        UNBOUNDED,
        None,
        64,
    )


@pytest.mark.parametrize(
    ("phase", "kept", "expected"),
    [
        (Phase.PROMOTED, None, UNBOUNDED),  # by a release that knew of no reach
        (Phase.PROMOTING, None, UNBOUNDED),
        (Phase.CANARY, None, 0),
        (Phase.SHADOWING, None, 0),
        (Phase.CANARY, granted(32, 128), 128),
        (Phase.SHADOWING, ReachStatus(), 0),
    ],
)
def test_the_farthest_that_any_pod_was_granted(phase: Phase, kept: Any, expected: int) -> None:
    assert reach.granted(status(phase, reach=kept)) == expected


@pytest.mark.parametrize(
    ("pod", "kept", "expected"),
    [
        ("a", granted(32, 128), 128),
        ("b", granted(32, 128), 32),
        ("b", granted(32, 128, ahead="b"), 128),
        ("b", None, UNBOUNDED),
    ],
)
def test_the_reach_of_a_pod(pod: str, kept: Any, expected: int) -> None:
    assert reach.of_pod(status(reach=kept, canary_pods=("a",)), pod) == expected


WORK = (0.0, 10.0, 20.0, 60.0, 10.0, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("tokens", "share", "enough"),
    [(LEAST, 0.1, False), (64, 0.3, False), (128, 0.9, True), (256, 1.0, True), (UNBOUNDED, 1.0, True)],
)
def test_the_share_of_the_work_within_a_reach(tokens: int, share: float, enough: bool) -> None:
    found = reaches(0, 0, work=WORK)
    assert found.share(tokens) == pytest.approx(share)
    assert found.enough(tokens) is enough
    assert found.needed() == 3


def test_no_data_is_never_enough() -> None:
    for changes in ({"work": (0.0,) * 9}, {"k": None}, {"work": ()}):
        found = reaches(0, 0, **changes)
        assert (found.share(UNBOUNDED), found.enough(UNBOUNDED), found.needed()) == (None, False, 2)


def test_what_is_all_exact_or_unjudged_needs_a_certificate_all_the_same() -> None:
    found = reaches(0, 0, work=(50.0, 50.0, *(0.0,) * 7))
    assert (found.share(LEAST), found.enough(LEAST), found.enough(64)) == (1.0, False, True)


def test_all_of_the_work_may_be_asked_for() -> None:
    found = reaches(0, 0, work=(0.1,) * 9, min_share=1.0)
    assert (found.needed(), found.enough(128 * 16), found.enough(UNBOUNDED)) == (8, False, True)


def test_what_was_decided_of_a_reach_has_no_figures() -> None:
    assert reach.decided(None) == (0, 0, "", None)
    assert reach.decided(granted(32, 64, ahead="a", share=0.5, message="said")) == (32, 64, "a", None)

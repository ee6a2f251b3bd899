"""Tests which reach engines are told, and who is trusted meanwhile."""

from dataclasses import replace

import pytest
from indexcache_core.contract import Identity, State
from indexcache_operator.api.status import PodStatus
from indexcache_operator.plan.facts.reach import UNBOUNDED
from indexcache_operator.plan.facts.snapshot import OFF
from indexcache_operator.plan.wanted import flags
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT, ON_PROMOTED_PERMIT, SHADOW

from tests.unit.operator.plan.build import case, engine, granted, pod, snapshot, status, told


@pytest.mark.parametrize(
    ("kind", "tokens", "expected"),
    [
        (ON_CANARY_PERMIT, 64, 64),
        (ON_PROMOTED_PERMIT, 64, 64),
        (ON_CANARY_PERMIT, UNBOUNDED, None),
        (SHADOW, 64, None),
        (OFF, 64, None),
    ],
)
def test_who_is_under_reuse_is_told_how_far_it_reaches(kind: str, tokens: int, expected: int | None) -> None:
    assert flags.content(case(snapshot(), status()), kind, tokens).flags.reach_tokens == expected


def reaching(tokens: int, kind: str = ON_CANARY_PERMIT) -> State:
    """Return an engine that was told a reach, under the epoch 1."""
    state = told({"a": kind}, pod("a"), status=status(reach=granted(tokens))).pods[0].state
    assert state is not None
    return state


def test_a_pod_is_told_its_own_reach_and_another_under_a_new_epoch() -> None:
    kept = status(reach=granted(32, 64), canary_pods=("a",))
    kinds = dict.fromkeys("ab", ON_CANARY_PERMIT)
    first = told(kinds, pod("a"), pod("b"), status=kept)
    assert [p.state and p.state.desired.reach_tokens for p in first.pods] == [64, 32]
    grown = replace(first.observation.status, reach=granted(32, 128))
    after = flags.assign(case(first, grown), kinds)
    assert [p.epoch for p in after.pods] == [2, 1]
    (put_,) = flags.puts(case(first, after))
    assert (put_.pod, put_.desired.flags.reach_tokens) == ("a", 128)


@pytest.mark.parametrize(
    ("state", "tokens", "settled", "trusted"),
    [
        (reaching(64), 64, True, True),
        (reaching(64), 128, False, True),  # it has not heard yet that it may reach farther
        (reaching(64), UNBOUNDED, False, True),
        (reaching(128), 64, False, False),
        (reaching(UNBOUNDED), 64, False, False),
        (reaching(64, SHADOW), 64, False, False),
        (reaching(64).model_copy(update={"identity": Identity(rollout="other")}), 128, False, False),
        (None, 64, False, False),
    ],
)
def test_who_runs_the_wanted_reuse_within_a_narrower_reach_is_trusted(
    state: State | None, tokens: int, settled: bool, trusted: bool
) -> None:
    each, wanted = pod("a", state), flags.content(case(snapshot(), status()), ON_CANARY_PERMIT, tokens)
    epoch = 1 if state is not None and state.desired == wanted.flags else 2
    kept = PodStatus(name="a", epoch=epoch, desired=flags.name(wanted, ON_CANARY_PERMIT))
    c = case(snapshot(each), status(reach=granted(tokens), pods=(kept,)))
    assert (flags.settled(c, each), flags.reusing(c, each)) == (settled, trusted)


@pytest.mark.parametrize(
    ("contract", "tokens", "expected"),
    [(1, 64, False), (1, UNBOUNDED, True), (2, 64, True), (3, 64, True)],
)
def test_an_engine_of_the_contract_before_knows_no_reach(contract: int, tokens: int, expected: bool) -> None:
    assert flags.knows_reach(pod("a", engine(contract=contract)), tokens) is expected
    assert flags.knows_reach(pod("a", None), tokens)


def test_a_pods_content_is_named_by_its_own_reach() -> None:
    c = case(snapshot(pod("a", None), pod("b", None)), status(reach=granted(32, 64), canary_pods=("a",)))
    after = flags.assign(c, dict.fromkeys("ab", ON_CANARY_PERMIT))
    assert [p.desired for p in after.pods] == [
        flags.name(flags.content(c, ON_CANARY_PERMIT, tokens), ON_CANARY_PERMIT) for tokens in (64, 32)
    ]


def test_a_pod_that_was_granted_more_than_others_is_trusted_within_its_own_reach() -> None:
    each = pod("a", reaching(64))
    kept = PodStatus(name="a", epoch=2, desired=f"{ON_CANARY_PERMIT}-1")
    before = status(reach=granted(64, 128), pods=(kept,))
    assert flags.reusing(case(snapshot(each), replace(before, canary_pods=("a",))), each)
    assert not flags.reusing(case(snapshot(each), before), each)  # the same reach, under an older epoch

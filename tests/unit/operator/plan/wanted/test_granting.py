"""Tests how far each pod may reuse: granted by certificates, and kept."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_operator.api.status import CapStatus, Phase, ReachStatus
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts import reach
from indexcache_operator.plan.facts.reach import UNBOUNDED
from indexcache_operator.plan.facts.situation import Evidence
from indexcache_operator.plan.facts.snapshot import OFF
from indexcache_operator.plan.wanted import granting
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT, ON_PROMOTED_PERMIT, SHADOW

from tests.unit.operator.plan.build import (
    LEAST,
    REACHED,
    engine,
    granted,
    pod,
    reaches,
    situation,
    spec,
    status,
)

CAP = CapStatus(tokens=64, cause="RecallBelowThreshold", message="bad")


def grant(
    phase: Phase, kept: Any, shadow: int, reuse: int, *pods: EnginePod, **changes: Any
) -> ReachStatus | None:
    """Return the reach after a look in which certificates reached so far."""
    found = Evidence(reaches=reaches(shadow, reuse))
    c = situation(*(pods or (pod("a"),)), status=status(phase, reach=kept), evidence=found, **changes)
    return granting.grant(c).reach


@pytest.mark.parametrize(
    ("kept", "shadow", "reuse", "expected"),
    [
        (None, REACHED, LEAST, granted(LEAST, REACHED)),
        (granted(LEAST, REACHED), REACHED, 64, granted(64, REACHED)),
        (granted(64, REACHED), LEAST, LEAST, granted(64, REACHED)),  # what was granted stays
        (granted(64, 64), REACHED, 256, granted(REACHED, REACHED)),  # no farther than the canary's
    ],
)
def test_a_canary_goes_as_far_as_shadow_certifies_and_all_others_as_far_as_reuse_does(
    kept: Any, shadow: int, reuse: int, expected: ReachStatus
) -> None:
    assert grant(Phase.CANARY, kept, shadow, reuse) == expected


@pytest.mark.parametrize("phase", sorted(set(Phase) - set(reach.EXPOSED)))
def test_where_nobody_is_exposed_nothing_is_granted_and_a_cap_stays(phase: Phase) -> None:
    assert grant(phase, granted(64, REACHED), UNBOUNDED, UNBOUNDED) is None
    assert grant(phase, granted(64, REACHED, cap=CAP), UNBOUNDED, UNBOUNDED) == ReachStatus(cap=CAP)


@pytest.mark.parametrize("phase", [Phase.PROMOTING, Phase.PROMOTED])
def test_what_a_release_promoted_that_knew_no_reach_stays_without_a_bound(phase: Phase) -> None:
    assert grant(phase, None, LEAST, LEAST) == granted(UNBOUNDED)


def test_nothing_grows_while_it_is_paused() -> None:
    kept = granted(LEAST, 64)
    assert grant(Phase.CANARY, kept, REACHED, REACHED, spec=spec(paused=True)) == kept


def test_one_pod_goes_ahead_after_the_promotion_as_long_as_it_is_there() -> None:
    ready, pods = pod("b"), (pod("a", ready=False), pod("c"), pod("b"))
    first = grant(Phase.PROMOTED, granted(64), REACHED, 64, *pods)
    assert first == granted(64, REACHED, ahead="b")
    stays = grant(Phase.PROMOTED, first, REACHED, 64, pod("a"), replace(ready, ready=False))
    assert stays == first
    gone = grant(Phase.PROMOTED, first, REACHED, 64, pod("c"), pod("d"))
    assert gone == replace(first, ahead="c")
    assert grant(Phase.PROMOTED, first, REACHED, REACHED, *pods) == granted(REACHED)
    assert grant(Phase.PROMOTING, granted(64), REACHED, 64, *pods) == granted(64, REACHED)
    assert grant(Phase.PROMOTED, granted(64), REACHED, 64, pod("a", engine(contract=1))) == granted(
        64, REACHED
    )


@pytest.mark.parametrize(
    ("tokens", "contract", "kind", "expected"),
    [
        (64, 1, ON_CANARY_PERMIT, SHADOW),
        (64, 1, ON_PROMOTED_PERMIT, SHADOW),
        (64, 1, SHADOW, SHADOW),
        (64, 1, OFF, OFF),
        (64, 2, ON_PROMOTED_PERMIT, ON_PROMOTED_PERMIT),
        (64, 3, ON_PROMOTED_PERMIT, ON_PROMOTED_PERMIT),
        (UNBOUNDED, 1, ON_PROMOTED_PERMIT, ON_PROMOTED_PERMIT),
    ],
)
def test_an_engine_that_knows_no_reach_is_never_under_a_bounded_one(
    tokens: int, contract: int, kind: str, expected: str
) -> None:
    old = pod("a", engine(Mode.SHADOW, contract=contract))
    c = situation(old, status=status(Phase.PROMOTED, reach=granted(tokens)))
    assert granting.held(c, {"a": kind}) == {"a": expected}


def test_each_engine_is_held_by_its_own_reach() -> None:
    pods = [pod(name, engine(Mode.SHADOW, contract=1)) for name in "ab"]
    kept = status(Phase.CANARY, reach=granted(64, UNBOUNDED), canary_pods=("a",))
    kinds = dict.fromkeys("ab", ON_CANARY_PERMIT)
    assert granting.held(situation(*pods, status=kept), kinds) == {"a": ON_CANARY_PERMIT, "b": SHADOW}

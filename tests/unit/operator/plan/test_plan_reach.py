"""Reuse reaches as far as its certificates, on the real plan: whole rollouts whose requests have many
lengths, some of which reuse ruins.
"""

from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_operator import model
from indexcache_operator.api.status import CapStatus, Phase
from indexcache_operator.model import Plan
from indexcache_operator.plan.facts import reach
from indexcache_operator.plan.facts.memory import Memory

from tests.unit.operator.plan.anew import ORDER, looks
from tests.unit.operator.plan.world import World, good
from tests.unit.operator.plan.world_parts import K, spec

pytestmark = pytest.mark.simulation

RARE = 6
"""The bucket of the long contexts: 513 to 1,024 tokens."""


def world(rare: float, min_share: float, *, ruined: bool = True, seed: int = 1, **changes: Any) -> World:
    """Return a world with this share of long requests among short ones."""
    strategy = {
        "shadow": {"minRequests": 100},
        "steps": [{"weight": 20}, {"weight": 50}],
        "progressDeadline": "10m",
        "reach": {"minShare": min_share},
    }
    return World(
        spec=spec(strategy=strategy, **changes),
        recall=good,
        lengths={3: 1.0 - rare, RARE: rare},
        ruined=frozenset({RARE}) if ruined else frozenset(),
        seed=seed,
    )


def reached(made: World) -> int:
    """Return the farthest reach that any pod has."""
    return reach.granted(made.status)


def told(made: World) -> list[str]:
    """Return the reasons of the Events so far."""
    return [action.reason for action in made.done if isinstance(action, model.Event)]


@pytest.mark.parametrize("rare", [0.005, 0.01, 0.04, 0.07])
def test_lengths_that_reuse_ruins_are_never_served_under_it_and_the_rest_is_promoted(rare: float) -> None:
    made, farthest = world(rare, 0.01), 0
    made.until(Phase.PROMOTED, looks=1500)
    for _ in range(200):
        made.snapshot()
        farthest = max(farthest, reached(made))
    assert made.status.phase is Phase.PROMOTED
    assert RARE not in made.reached
    assert reach.end(3, K) <= farthest < reach.end(RARE, K)
    assert made.modes() == {Mode.ON}
    assert made.status.rejected == ()


@pytest.mark.parametrize("rare", [0.01, 0.07])
def test_where_the_rest_is_too_little_the_try_ends_with_none_of_them_exposed(rare: float) -> None:
    made = world(rare, 0.9).until(Phase.FELL_BACK, looks=1500)
    assert RARE not in made.reached
    assert Phase.PROMOTED not in made.phases
    (rejected,) = made.status.rejected
    assert rejected.reason == "RecallBelowThreshold"
    for words in ("at contexts of 513-1024 tokens", "spec.strategy.reach.minShare asks for 90%", "or lower"):
        assert words in rejected.message
    assert "ReachCapped" in told(made)


def test_a_build_that_tells_engines_no_reach_serves_them_what_it_ruins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reach, "said", lambda tokens: None)
    made = world(0.07, 0.01)
    made.wait(lambda w: RARE in w.reached, looks=1500)


def test_it_grows_by_one_pod_first_once_all_are_promoted() -> None:
    made = world(0.02, 0.01, ruined=False).until(Phase.PROMOTED, looks=1500)
    granted = made.status.reach
    assert granted is not None
    assert granted.tokens < reach.end(RARE, K)
    made.wait(lambda w: reached(w) >= reach.end(RARE, K), looks=4000)
    ahead = made.status.reach and made.status.reach.ahead
    made.snapshot()
    told_so = {p.name: p.switch.flags.reach_tokens for p in made.pods.values()}
    assert [name for name, tokens in told_so.items() if tokens == reach.end(RARE, K)] == [ahead]
    made.wait(lambda w: bool(w.status.reach and w.status.reach.tokens >= reach.end(RARE, K)), looks=4000)
    made.snapshot()
    assert {p.switch.flags.reach_tokens for p in made.pods.values()} == {reach.end(RARE, K)}
    assert made.status.reach is not None
    assert made.status.reach.ahead == ""
    assert told(made).count("ReachGrew") >= 2


def test_a_canary_that_is_granted_more_keeps_its_weight() -> None:
    made = world(0.05, 0.01, ruined=False).until(Phase.CANARY)
    made.wait(lambda w: w.status.traffic.desired > 0)
    before, weights = reached(made), [made.status.traffic.desired]
    while made.status.phase is Phase.CANARY and reached(made) < reach.end(RARE, K):
        made.snapshot()
        weights.append(made.status.traffic.desired)
    assert reached(made) > before
    assert weights == sorted(weights)


def test_what_breaks_within_the_reach_takes_all_back_and_what_breaks_beyond_it_nothing() -> None:
    made = world(0.02, 0.01).until(Phase.PROMOTED, looks=1500)
    made.wait(lambda w: bool(w.status.reach and w.status.reach.cap), looks=3000)
    assert made.status.phase is Phase.PROMOTED
    made.ruined = frozenset({3, RARE})
    made.until(Phase.FELL_BACK, looks=1500)
    assert made.status.rejected[0].reason == "RecallBelowThreshold"
    assert made.status.reach is not None
    assert made.status.reach.tokens == 0


def test_a_cap_ends_with_the_try() -> None:
    made = world(0.07, 0.01).until(Phase.CANARY, looks=1500)
    made.wait(lambda w: bool(w.status.reach and w.status.reach.cap), looks=3000)
    made.annotations["indexcache.dev/kill"] = made.status.revision
    made.until(Phase.FELL_BACK)
    made.annotations.clear()
    made.until(Phase.SHADOWING)
    assert made.status.reach is None or made.status.reach.cap is None


@pytest.mark.parametrize(
    ("seed", "ruined", "min_share"), [(0, True, 0.01), (1, False, 0.01), (2, False, 0.3)]
)
def test_an_operator_that_begins_anew_exposes_nothing_that_the_one_before_would_not(
    seed: int, ruined: bool, min_share: float
) -> None:
    """At any look of a history with pods that die: no farther reach, no later phase, no certificate more."""
    made = world(0.05, min_share, ruined=ruined, seed=seed)
    made.until(Phase.SHADOWING)
    compared = 0
    for look in looks(made, 200):
        old, new = look.goes_on, look.begins
        if look.tries and _caps(old) == _caps(new):
            assert ORDER.index(new.status.phase) <= ORDER.index(old.status.phase)
            assert all(anew <= kept for anew, kept in zip(_granted(new), _granted(old), strict=True))
            assert _certified(new) <= _certified(old)
            compared += 1
        if made.random.random() < 0.02:
            made.lose(made.random.choice(sorted(made.pods)))
    assert compared > 150


def _caps(made: Plan[Memory]) -> CapStatus | None:
    return made.status.reach.cap if made.status.reach else None


def _granted(made: Plan[Memory]) -> tuple[int, int]:
    kept = made.status.reach
    return (kept.tokens, kept.canary_tokens) if kept else (0, 0)


def _certified(made: Plan[Memory]) -> set[tuple[str, str, str]]:
    return {
        (row.guardrail, row.contexts, row.work) for row in made.status.evidence if row.verdict == "Certified"
    }

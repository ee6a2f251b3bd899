"""Tests whole rollouts by what guards them: nothing, what only observes, or what was taken away."""

from indexcache_operator.api.status import Phase

from tests.unit.operator.plan.world import World, bad, good
from tests.unit.operator.plan.world_parts import spec


def test_observe_only_guardrails_never_act() -> None:
    watched = {"recall": {"min": 0.5, "observeOnly": True}, "unguarded": True}
    world = World(spec=spec(guardrails=watched), recall=bad).until(Phase.CANARY)
    for _ in range(60):
        world.snapshot()
    assert Phase.FALLING_BACK not in world.phases


def test_a_pattern_that_nothing_guards_is_promoted_only_where_the_spec_asks_for_it() -> None:
    refused = World(spec=spec(guardrails={}), recall=bad).until(Phase.FAILED)
    assert refused.reuse_admitted == 0
    assert "unguarded: true" in refused.status.message
    asked = World(spec=spec(guardrails={"unguarded": True}), recall=bad).until(Phase.PROMOTED)
    assert asked.status.reason == "Unguarded"
    assert [(h.outcome, h.reason) for h in asked.status.history] == [("Promoted", "Unguarded")]
    assert "unguarded" in asked.status.message


def test_what_was_promoted_stays_when_its_guardrails_are_taken_away_and_says_so() -> None:
    world = World(recall=good).until(Phase.PROMOTED)
    assert world.status.reason == "Certified"
    world.spec = spec(guardrails={})
    for _ in range(5):
        world.snapshot()
    assert (world.status.phase, world.status.reason) == (Phase.PROMOTED, "Unguarded")


def test_guardrails_taken_away_in_shadow_expose_nobody() -> None:
    world = World(recall=good).until(Phase.SHADOWING)
    world.spec = spec(guardrails={})
    for _ in range(200):
        world.snapshot()
    assert (world.status.phase, world.reuse_admitted) == (Phase.SHADOWING, 0)
    assert "no guardrail on what engines measure acts" in world.status.reason

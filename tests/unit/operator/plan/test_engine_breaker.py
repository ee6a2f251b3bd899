"""The engines' own breakers, as the plan sees them."""

import pytest
from indexcache_core.contract import InFlight, Mode, Reason
from indexcache_operator.api.status import Phase
from indexcache_operator.plan.facts import guardrails

from tests.unit.operator.plan.world import World, good
from tests.unit.operator.plan.world_parts import spec

SAID = (
    "epoch 3: recall of indexer 1 (layer 1) at contexts of 65-128 tokens is 0.100 in the mean over 9 "
    "observations"
)


@pytest.mark.parametrize("phase", [Phase.CANARY, Phase.PROMOTED])
def test_an_engine_that_tripped_by_itself_is_a_breach(phase: Phase) -> None:
    world = World(recall=good).until(phase)
    pod = next(
        p for p in world.wait(lambda w: Mode.ON in w.modes()).pods.values() if p.switch.mode is Mode.ON
    )
    pod.switch.trip(Reason.BREAKER, SAID)
    world.snapshot()
    assert world.status.phase is Phase.FALLING_BACK
    world.until(Phase.FELL_BACK)
    (rejected,) = world.status.rejected
    assert (rejected.reason, rejected.message) == ("EngineBreaker", f"pod {pod.name}: {SAID}")
    assert world.modes() == {Mode.OFF}
    assert world.backends == world.original


def test_engines_are_told_their_part_of_alpha_in_shadow_already_and_nothing_at_the_baseline() -> None:
    world = World(recall=good).until(Phase.SHADOWING)
    told = [p.switch.accepted for p in world.wait(lambda w: w.modes() == {Mode.SHADOW}).pods.values()]
    assert [d and d.breaker for d in told] == [guardrails.breaker(spec())] * 3
    world.annotations["indexcache.dev/kill"] = world.status.revision
    told = [p.switch.accepted for p in world.until(Phase.FELL_BACK).pods.values()]
    assert [d and d.breaker for d in told] == [None] * 3


def test_engines_are_told_what_becomes_of_requests_in_flight() -> None:
    world = World(
        spec=spec(fallback={"permit": {"canary": "5s"}, "inFlight": "Recompute"}), recall=good
    ).until(Phase.SHADOWING)
    pods = world.wait(lambda w: w.modes() == {Mode.SHADOW}).pods.values()
    assert {p.switch.flags.in_flight for p in pods} == {InFlight.RECOMPUTE}

"""Tests where engine and port meet: what a step is told, and what a reader sees, as time passes."""

from collections.abc import Callable
from typing import Any

import pytest
from indexcache_core.contract import HALF_LIFE, Desired, Flags, Indexer, Kill, Mode, Reason, Site
from indexcache_core.counted import LEAST_AGREEMENT
from indexcache_runtime.control.behaviour import BASELINE
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.switch import CallRefused
from indexcache_runtime.engine import Capabilities, Measured, Row, StepPlan

SITES = tuple(Site(index=i, layer=i, domain="tokens", k=64) for i in range(4))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def control(**more: Any) -> tuple[EngineControl, Clock]:
    clock = Clock()
    return EngineControl(Capabilities("m", SITES, **more), clock=clock), clock


def desired(
    c: EngineControl, epoch: int = 1, mode: Mode = Mode.ON, permit: float | None = 5.0, **flags: object
) -> Desired:
    wanted = Flags(mode=mode, **{"pattern": "FSFS", **flags})
    return Desired(incarnation=c.incarnation, epoch=epoch, permit_seconds=permit, flags=wanted)


def test_a_step_after_the_permit_is_a_baseline_step() -> None:
    c, clock = control()
    c.put(desired(c))
    assert c.behaviour().mode is Mode.ON
    clock.now = 5.0
    assert c.behaviour() is BASELINE


def test_an_idle_engine_shows_the_lapse_without_a_step() -> None:
    c, clock = control()
    c.put(desired(c))
    clock.now = 5.0
    assert (c.state().mode, c.state().reason) == (Mode.TRIPPED, Reason.PERMIT_LAPSED)


def test_a_kill_holds_for_the_next_step() -> None:
    c, _ = control()
    c.put(desired(c))
    c.kill(Kill(reason="x"))
    assert c.behaviour() is BASELINE


def test_a_kill_acts_before_its_reason_is_known() -> None:
    c, _ = control()
    c.put(desired(c))
    number = c.kill_now()
    assert c.behaviour() is BASELINE
    assert c.name_kill(number, Kill(reason="x")).message == "x"


def test_behaviour_stays_the_same_object_and_its_taint_follows_what_is_computed() -> None:
    c, _ = control()
    c.put(desired(c, 1))
    first = c.behaviour()
    c.put(desired(c, 1))
    assert c.behaviour() is first
    c.put(desired(c, 2, sample_rows=3))
    assert c.behaviour().taint == first.taint
    c.put(desired(c, 3, protected=(3,)))
    assert c.behaviour().taint not in (first.taint, None)
    c.put(desired(c, 4, min_context_tokens=100))
    assert c.behaviour().taint not in (first.taint, None)
    c.put(desired(c, 5, pattern="FSSS", protected=(2,)))
    assert c.behaviour().taint == first.taint
    c.put(desired(c, 6, mode=Mode.SHADOW))
    assert (c.behaviour().mode, c.behaviour().taint) == (Mode.SHADOW, None)


def test_a_permit_that_is_renewed_ends_later() -> None:
    c, clock = control()
    c.put(desired(c))
    assert c.behaviour().mode is Mode.ON
    clock.now = 4.0
    c.put(desired(c))
    clock.now = 8.9
    assert c.behaviour().mode is Mode.ON
    clock.now = 9.0
    assert c.behaviour() is BASELINE


def test_the_age_of_the_step_in_flight() -> None:
    c, clock = control()
    assert c.state().step_seconds == 0.0
    c.started()
    clock.now = 2.0
    c.started()
    clock.now = 3.0
    assert c.state().step_seconds == 3.0
    c.ended()
    assert c.state().step_seconds == 1.0
    c.ended()
    assert c.state().step_seconds == 0.0


def test_measurements_are_of_the_current_series() -> None:
    c, _ = control()
    c.put(desired(c, 1))
    plan = StepPlan(Mode.ON, "FSFS", c.behaviour().series, (Row("a", 100),))
    c.measured(plan, Measured(overlap={1: [0.5]}, recall={1: [0.75]}))
    c.requests_ended(["a"])
    mean, s = c.state().observed
    assert (mean.site, mean.overlap.mean, mean.recall.mean) == (None, 0.5, 0.75)
    assert (s.site, s.overlap.mean, s.recall.mean) == (1, 0.5, 0.75)
    c.put(desired(c, 2, pattern="FFFS"))
    c.measured(plan, Measured(overlap={1: [0.5]}, recall={1: [0.75]}))
    c.requests_ended(["a"])
    assert (c.state().observed, c.state().series_number) == ((), 2)


def test_measurements_outlive_a_fallback_and_end_with_the_next_try() -> None:
    c, _ = control()
    c.put(desired(c, 1))
    plan = StepPlan(Mode.ON, "FSFS", c.behaviour().series, (Row("a", 100), Row("b", 100)))
    c.measured(plan, Measured(overlap={1: [0.5, 0.5]}, recall={1: [0.75, 0.75]}))
    c.prompts_computed(["a"])
    c.kill(Kill())
    assert [s.recall.count for s in c.state().observed] == [1, 1]
    c.requests_ended(["a", "b"])
    assert [s.recall.count for s in c.state().observed] == [2, 2]
    assert len(c.put(desired(c, 2, mode=Mode.OFF)).observed) == 2
    assert c.put(desired(c, 3, mode=Mode.SHADOW)).observed == ()


def test_prompts_that_wait_are_those_of_the_current_series() -> None:
    c, _ = control()
    c.put(desired(c, 1))
    plan = StepPlan(Mode.ON, "FSFS", c.behaviour().series, (Row("a", 100), Row("b", 100)))
    c.measured(plan, Measured(overlap={1: [0.5, 0.5]}, recall={1: [0.75, 0.75]}))
    waiting = c.prefilling
    assert waiting == {"a", "b"}
    c.prompts_computed(["a"])
    assert c.prefilling == {"b"}
    c.put(desired(c, 2, pattern="FFFS"))
    assert c.prefilling == set()
    assert waiting == {"a", "b"}  # the port's thread takes nothing from what the engine's thread reads
    c.prompts_computed(["b"])
    assert c.state().observed == ()


def admitted(c: EngineControl, name: str) -> tuple[float, ...]:
    with c.ledger() as ledger:
        ledger.admit(name, prompt_tokens=100, reuse=False, probe=False)
    requests = c.state().requests
    return requests.contexts[1], requests.recent[1]


def test_recent_requests_are_those_of_the_current_try() -> None:
    c, _ = control()
    assert admitted(c, "a") == (1, 1.0)
    assert c.put(desired(c, 1)).requests.recent[1] == 0.0
    assert admitted(c, "b") == (2, 1.0)
    c.put(desired(c, 1))  # a renewal
    c.kill(Kill())
    assert admitted(c, "c")[1] == pytest.approx(1 + 0.5 ** (1 / HALF_LIFE))
    assert c.put(desired(c, 2, mode=Mode.SHADOW)).requests.recent[1] > 1.0  # the same try goes on
    c.put(desired(c, 3, mode=Mode.OFF))
    assert c.put(desired(c, 4, mode=Mode.SHADOW)).requests.recent == (0.0,) * 9


def test_another_indexer_is_another_computation_and_another_series() -> None:
    c, _ = control(indexers=tuple(Indexer))
    assert c.state().indexers == (Indexer.NATIVE, Indexer.FAST)
    c.put(desired(c))
    native = c.behaviour()
    c.put(desired(c, 2, indexer=Indexer.FAST))
    fast = c.behaviour()
    assert (native.indexer, fast.indexer) == (Indexer.NATIVE, Indexer.FAST)
    assert native.taint != fast.taint
    assert (native.series, fast.series) == (1, 2)


def test_an_engine_in_which_the_fast_indexer_is_wrong_stops_reuse_for_good() -> None:
    c, _ = control(indexers=tuple(Indexer))
    c.put(desired(c, indexer=Indexer.FAST))
    plan = StepPlan(Mode.ON, "FSFS", 1, (Row("a", 100),), indexer=Indexer.FAST)
    c.measured(plan, Measured(agreement=[1.0, LEAST_AGREEMENT]))
    assert (c.state().mode, c.gave_up) == (Mode.ON, False)
    c.measured(plan, Measured(agreement=[1.0, LEAST_AGREEMENT - 0.001]))
    assert c.behaviour() is BASELINE
    state = c.state()
    assert (state.mode, state.reason, state.supported) == (Mode.TRIPPED, Reason.INTERNAL_ERROR, False)
    assert "0.989 of the tokens" in state.message
    assert "indexer Fast" in state.message
    assert (state.fast_indexer.rows, state.fast_indexer.least_agreement) == (4, LEAST_AGREEMENT - 0.001)


def test_an_indexer_that_the_engine_does_not_have_is_refused_and_nothing_changes() -> None:
    c, _ = control()
    c.put(desired(c))
    with pytest.raises(CallRefused) as refused:
        c.put(desired(c, 2, indexer=Indexer.FAST))
    assert refused.value.refused.code == "DoesNotFit"
    assert refused.value.refused.field == "flags.indexer"
    assert refused.value.refused.message == "Fast; this engine has Native"
    assert (c.state().epoch, c.state().mode) == (1, Mode.ON)


def measure(c: EngineControl, user: str) -> None:
    plan = StepPlan(Mode.ON, "FSFS", c.behaviour().series, (Row(user, 199),))
    c.measured(plan, Measured({1: [0.5], 3: [0.5]}, {1: [0.5], 3: [0.5]}))
    c.prompts_computed([user])


def test_a_state_is_known_by_its_tag_while_nothing_but_time_passes() -> None:
    c, clock = control()
    c.put(desired(c, permit=60.0))
    c.started()
    first, tag = c.told()
    clock.now = 9.0
    assert c.told(tag) == (None, tag)
    later, same = c.told()
    assert same == tag
    assert first is not None
    assert later is not None
    aged = {
        "permit_remaining_seconds": first.permit_remaining_seconds - 9.0
        if first.permit_remaining_seconds is not None
        else None,
        "step_seconds": first.step_seconds + 9.0,
    }
    assert later == first.model_copy(update=aged)


@pytest.mark.parametrize(
    "happens",
    [
        lambda c, clock: c.put(desired(c, permit=60.0)),  # a renewal: nothing but the permit's end changes
        lambda c, clock: c.put(desired(c, 2, permit=60.0)),
        lambda c, clock: c.kill(Kill(reason="x")),
        lambda c, clock: setattr(clock, "now", 99.0),  # the permit lapses
        lambda c, clock: measure(c, "a"),
        lambda c, clock: c.started(),
        lambda c, clock: (
            c.ledger().__enter__().admit("a", prompt_tokens=9, reuse=True, probe=False)
            or c.ledger().__exit__()
        ),
        lambda c, clock: c.fail("testing", "x"),
    ],
)
def test_whatever_else_happens_has_another_tag(happens: Callable[[EngineControl, Clock], object]) -> None:
    c, clock = control()
    c.put(desired(c, permit=60.0))
    _, tag = c.told()
    clock.now = 1.0
    happens(c, clock)
    state, other = c.told(tag)
    assert other != tag
    assert state is not None


def test_what_is_measured_once_more_has_another_tag_each_time() -> None:
    c, _ = control()
    c.put(desired(c, permit=60.0))
    tags = set()
    for user in "abc":
        measure(c, user)
        state, tag = c.told()
        assert state is not None
        assert state.observed
        tags.add(tag)
    assert len(tags) == 3


def test_another_life_of_the_same_engine_has_another_tag() -> None:
    (a, _), (b, _) = control(), control()
    assert a.told()[1] != b.told()[1]
    assert b.told(a.told()[1])[0] is not None
